"""Recipes `yond-snrnet-small` and `yond-snrnet`: SNR-Net, trained on synthetic noise alone.

Clean linear pseudo-raw patches come from photographs (`engines.raw.unprocess`). Halved photographs
are softer than a sharp RAW, so many patches are reduced further or sharpened, and some are drawn
(`engines.raw.drawn`). Noise is drawn as a sensor makes it, photons and read noise (one in eight
with the heavy tails of ELD), then stabilised exactly as at run time, so the network also meets what
the transform cannot make Gaussian near black; one patch in four gets the paper's white noise in the
stabilised domain instead. Levels cover K/s from 1e-5 (a 14-bit file at base ISO) to 0.06, which is
t from 0.0016 to 0.13; the published range starts at 0.02, far above what good light gives. The loss
is taken in units of the noise, or high-ISO patches would be all that counts: the squared error, and
half the absolute one.

The small network learned its first 39 248 steps from the absolute error alone and 5 031 more from
that and half the squared one, both with Adam; Muon moves it since. The wide network begins as the
small one that ships (`engines.raw.yond.grow`). On one CPU core with bfloat16 the small one learns 6
batches a second and the wide one 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.raw.drawn import drawing, sharpened
from engines.raw.noise import tukey
from engines.raw.unprocess import unprocess
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.checkpoint import SPEC
from engines.raw.yond.grow import grow
from engines.raw.yond.pipeline import T_FACTOR
from engines.training.loop import Batch, Recipe, TrainConfig, bundled_weights
from engines.training.photos import DATA, Photo, photos, sharp_places
from kernels.anscombe import BiasTable, bias_table, forward, stabilise

HELD_OUT = ("wallpapers-Path", "Lichen-Branches", "Bridge_by", "wallpapers-Grey")
_ZOOMS = ((1.0, 0.30), (1.5, 0.25), (2.0, 0.30), (3.0, 0.15))  # further reduction, share of patches
_DRAWN = 0.08  # share of patches that are drawn
_SHARPENED = 0.3  # share of photographs' patches that are sharpened
_HEAVY = 0.12  # share of patches whose read noise has heavy tails
READ_NOISES = np.geomspace(0.25, 12.0, 64)  # read noise in electrons


@dataclass(frozen=True)
class _Scale:
    """Black and white of one noise level in the stabilised domain, electrons throughout."""

    low: float
    span: float

    @classmethod
    def of(cls, electrons: float, ratio: float) -> _Scale:
        ends = forward(torch.tensor([0.0, electrons], dtype=torch.float64), 1.0, ratio)
        return cls(float(ends[0]), float(ends[1] - ends[0]))


class SnrNetRecipe(Recipe):
    """Data, loss and validation of one size of SNR-Net (see the module's text)."""

    pushed = 0.4  # share of patches that are under-exposed

    def __init__(
        self,
        name: str,
        title: str,
        nf: int,
        config: TrainConfig,
        *,
        begin: str = "",
        note: str = "",
        levels: int = 4,
        batch: int = 9,
        patch: int = 64,
    ) -> None:
        """`begin` names weights that ship, to begin from where they are narrower."""
        self.name = name
        self.title = title
        self.note = note
        self.settings = {"nf": nf, "levels": levels, "noise_units": True}
        self.batch = batch
        self.patch = patch
        self.config = config
        self.begin = begin
        self._photos: list[Photo] = []
        self._held: list[Photo] = []
        self._tables: list[BiasTable] = []

    def network(self) -> nn.Module:
        """A fresh network; see `engines.training.loop.Recipe`."""
        network = GuidedResUnet(**self.settings)  # type: ignore[arg-type]
        network.initialise(torch.Generator().manual_seed(self.config.seed))
        narrow = bundled_weights(self.begin) if self.begin else None
        if narrow is not None:
            grow(network, narrow[0])
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def hidden(self, network: nn.Module) -> set[str]:
        """All but the first and last layer and what the guide goes through."""
        inner = ("conv1", "conv2", "short_cut", "conv", "upv")
        return {
            name for name, one in network.named_parameters()
            if one.ndim == 4 and (name.startswith("upv") or name.split(".")[1] in inner)
        }  # fmt: skip

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Load the photos and find where they are sharp."""
        found = photos(cache, data)
        held = [photo for photo in found if any(mark in photo.name for mark in HELD_OUT)]
        self._held = held or found[:: max(len(found) // 4, 1)][:4]
        self._photos = [photo for photo in found if photo not in self._held] or found
        self._places = [sharp_places(photo, 2 * self.patch) for photo in self._photos]
        self._tables = [bias_table(1.0, float(ratio)) for ratio in READ_NOISES]

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless {"noisy", "clean": (B, 4, p, p), "t": (B,)}."""
        random = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        shares = np.array([np.sqrt(p.pixels.shape[0] * p.pixels.shape[1]) for p in self._photos])
        shares = shares / shares.sum()
        while True:
            made: list[tuple[Tensor, Tensor, float]] = []
            for _ in range(self.batch):
                clean = self._patch(random, int(random.choice(len(shares), p=shares)))
                made.append(self._example(clean, random, generator))
            noisy, target, t = (list(part) for part in zip(*made, strict=True))
            yield {
                "noisy": torch.stack(noisy),
                "clean": torch.stack(target),
                "t": torch.tensor(t, dtype=torch.float32),
            }

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Mean of |e|/2 + e², e the error in units of the noise."""
        noisy = batch["noisy"].contiguous(memory_format=torch.channels_last)
        with torch.autocast(noisy.device.type, torch.bfloat16):
            found = network(noisy, batch["t"])
        error = (found - batch["clean"]) / batch["t"].reshape(-1, 1, 1, 1)
        return (0.5 * error.abs() + error.square()).mean()

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """Gain in dB over the noisy input in the stabilised domain, per noise level, on sharp crops
        of photos kept out of training; the picture shows noisy, denoised and clean.
        """
        random = np.random.default_rng(5)
        generator = torch.Generator().manual_seed(5)
        device = next(network.parameters()).device
        clean_patches = [
            self._held_crop(photo, 2 * 96, random) for photo in self._held for _ in (0, 1)
        ]
        figures: dict[str, float] = {}
        rows: list[NDArray[np.uint8]] = []
        for name, share, ratio in (
            ("gain_k1_db", 1 / 16000, 3.0),
            ("gain_k3_db", 3 / 16000, 1.5),
            ("gain_k12_db", 12 / 16000, 1.2),
            ("gain_k25_db", 25 / 16000, 1.1),
            ("gain_k150_db", 150 / 16000, 1.1),
        ):
            before = after = 0.0
            for number, patch in enumerate(clean_patches):
                noisy, clean, t = self._noise(patch, share, ratio, generator, white=False)
                out = network(noisy[None].to(device), torch.tensor([t], device=device))[0].cpu()
                before += float((noisy - clean).square().mean() / t**2)
                after += float((out - clean).square().mean() / t**2)
                if number == 2:
                    rows.append(
                        np.concatenate([_show(part) for part in (noisy, out, clean)], axis=1)
                    )
            figures[name] = float(10.0 * np.log10(before / after))
        cv2.imwrite(str(figure), np.concatenate(rows, axis=0)[:, :, ::-1])
        return figures

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        return {
            "network": SPEC.id,
            "config": self.settings,
            "title": self.title,
            "note": self.note,
            "licence": "Apache-2.0",
            "source": "trained here by `train " + self.name + "`",
            "data": DATA,
            "held_out": list(HELD_OUT),
            "range_of_t": [0.0016, 0.13],
        }

    def _patch(self, random: np.random.Generator, index: int) -> Tensor:
        """One linear (4, p, p) RGGB patch of a training photo.

        Most photos are softer than a sharp lens on a modern sensor; reducing some of them further
        gives the fine detail that a network must not learn to take for noise.
        """
        if random.random() < _DRAWN:
            return self._to_raw(drawing(2 * self.patch, random), random)
        photo, places = self._photos[index], self._places[index]
        y, x = places[int(random.integers(len(places)))]
        side = 2 * self.patch
        zoom = float(random.choice([z for z, _ in _ZOOMS], p=[share for _, share in _ZOOMS]))
        window = round(side * zoom)
        height, width = photo.pixels.shape[:2]
        y = min(max(int(y + random.integers(-side // 2, side // 4 + 1)), 0), height - window)
        x = min(max(int(x + random.integers(-side // 2, side // 4 + 1)), 0), width - window)
        crop = photo.pixels[y : y + window, x : x + window]
        if window != side:
            reduced = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
            crop = np.asarray(reduced, dtype=np.uint16)
        if random.random() < _SHARPENED:
            crop = sharpened(crop, float(random.uniform(0.3, 1.5)))
        return self._to_raw(crop, random)

    def _held_crop(self, photo: Photo, side: int, random: np.random.Generator) -> Tensor:
        places = sharp_places(photo, side)
        y, x = places[int(random.integers(len(places)))]
        return self._to_raw(photo.pixels[y : y + side, x : x + side], random)

    def _to_raw(self, crop: NDArray[np.uint16], random: np.random.Generator) -> Tensor:
        rgb = unprocess(crop.astype(np.float32) / 65535.0, random)
        if random.random() < self.pushed:  # pushed shadows: up to five stops under-exposed
            rgb = rgb * np.float32(2.0 ** -random.uniform(0.0, 5.0))
        rgb = np.rot90(rgb, int(random.integers(4)))
        if random.random() < 0.5:
            rgb = rgb[:, ::-1]
        planes = (rgb[0::2, 0::2, 0], rgb[0::2, 1::2, 1], rgb[1::2, 0::2, 1], rgb[1::2, 1::2, 2])
        return torch.from_numpy(np.ascontiguousarray(np.stack(planes)))

    def _example(
        self, clean: Tensor, random: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, float]:
        share = float(np.exp(random.uniform(np.log(1e-5), np.log(0.06))))
        ratio = float(READ_NOISES[int(random.integers(len(READ_NOISES)))])
        if random.random() < 0.25:
            return self._noise(clean, share, ratio, generator, white=True)
        heavy = None
        if random.random() < _HEAVY:
            lam = float(random.uniform(-0.25, 0.1))
            heavy = torch.from_numpy(tukey.draw(random, clean.shape, lam) / tukey.spread(lam))
        return self._noise(clean, share, ratio, generator, white=False, read=heavy)

    def _noise(
        self,
        clean: Tensor,
        share: float,
        ratio: float,
        generator: torch.Generator,
        *,
        white: bool,
        read: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, float]:
        """Noisy and clean planes in [0, 1] of the stabilised domain, and t.

        `share` is K/s (gain over the span from black to white), `ratio` σ/K; `read` is read noise
        of deviation one, Gaussian where it is not given.
        """
        scale = _Scale.of(1.0 / share, ratio)
        t = T_FACTOR / scale.span
        photons = clean / share
        target = (forward(photons, 1.0, ratio) - scale.low) / scale.span
        if white:
            return target + t * torch.randn(clean.shape, generator=generator), target, t
        drawn = torch.poisson(photons, generator=generator)
        drawn += ratio * (
            torch.randn(clean.shape, generator=generator) if read is None else read.float()
        )
        drawn.clamp_(max=1.0 / share)  # a sensor clips at white
        nearest = int(np.argmin(np.abs(np.log(READ_NOISES / ratio))))
        near = bool(np.isclose(READ_NOISES[nearest], ratio, rtol=0.05))
        table = self._tables[nearest] if near else bias_table(1.0, ratio)
        return (stabilise(drawn, 1.0, ratio, table) - scale.low) / scale.span, target, t


def _show(planes: Tensor) -> NDArray[np.uint8]:
    """(4, h, w) stabilised planes -> (h, w, 3) uint8 for the validation picture."""
    rgb = torch.stack([planes[0] * 1.35, (planes[1] + planes[2]) / 2, planes[3] * 1.3], dim=-1)
    return (rgb.clamp(0, 1) * 255).byte().numpy()


def small() -> SnrNetRecipe:
    """16 channels over four levels, 0.70 M weights, 80 kFLOP a packed pixel."""
    return SnrNetRecipe(
        "yond-snrnet-small",
        "YOND SNR-Net, small (16 channels)",
        nf=16,
        config=TrainConfig(rate=1.2e-3, muon=0.01, clip=5.0),
        note="Small network (0.7 M weights), trained on a CPU by the recipe of this project; "
        "works offline. The authors' network has 11.2 M weights and can be added from their file",
    )


def wide() -> SnrNetRecipe:
    """32 channels over four levels, 2.8 M weights, 320 kFLOP a packed pixel."""
    return SnrNetRecipe(
        "yond-snrnet",
        "YOND SNR-Net (32 channels)",
        nf=32,
        config=TrainConfig(rate=6e-4, muon=0.006, clip=5.0, half=True),
        begin="yond-snrnet-small",
        note="Network of 2.8 M weights, grown from the small one and trained on a CPU by the "
        "recipe of this project; works offline",
    )
