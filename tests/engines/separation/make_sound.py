"""A network whose masks are known, and recordings of which every part is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.base import Cancelled, Result
from engines.media.sound_read import open_sound
from engines.separation.engine import ClipSepEngine
from engines.separation.model import Masks, Separator
from engines.separation.params import ClipSepParams
from engines.separation.small import SmallSep
from engines.weights import LoadedModel, ModelFile
from studio.bench.job import BenchJob

FILE = ModelFile(
    "clipsep-small", "separation.clipsep/small", "bundled", "", "", "", Path("x"), "0" * 64, 1, {}
)
SPLIT = 2000.0  # Hz between "low" and "high"
KNOWN = ("low", "high")


class Splits:
    """Queries are (which half, how much): "low" and "high" are halves, others are nothing."""

    encoder, heads = "minilm", True

    def masks(self, magnitude: Tensor, queries: Tensor) -> Masks:
        """1 in the half that a query names, 0 elsewhere; both heads of noise take a half."""
        low = (torch.arange(513) * 15.625 < SPLIT).float()
        halves = torch.stack([low, 1.0 - low])
        rows = queries[:, :2] @ halves
        shape = (-1, 1, 513, 1)
        size = (-1, len(magnitude), 513, magnitude.shape[-1])
        return Masks(rows.reshape(shape).expand(size), halves.reshape(shape).expand(size) * 0.5)


class Halves:
    """Their encoder; "half" asks for half of everything."""

    space = "minilm"

    def text(self, texts: Sequence[str]) -> Tensor:
        """(n, 3)."""
        known = {"low": (1.0, 0.0, 1.0), "high": (0.0, 1.0, 1.0), "half": (0.5, 0.5, 1.0)}
        return torch.tensor([known.get(text, (0.0, 0.0, 0.1)) for text in texts])

    def picture(self, paths: Sequence[Path]) -> Tensor:
        """By the file's name."""
        return self.text([path.stem for path in paths])


def likeness(_separator: object, embedding: Tensor) -> list[tuple[str, float]]:
    """The words that this network knows."""
    return [(word, float(embedding[2])) for word in KNOWN]


class StudioJob(BenchJob):
    """A job with a workspace and a chosen network; asks for a stop at the n-th question."""

    def __init__(self, folder: Path, network: Any = None, stop_at: int = 10**9) -> None:
        super().__init__(folder / "workspace")
        self.workspace.mkdir(exist_ok=True)
        self.reports: list[tuple[float, str]] = []
        self.asked = 0
        self._network, self._stop_at = network or small(), stop_at

    def progress(self, done: float, total: float, text: str) -> None:
        self.reports.append((done / total, text))

    def check_cancelled(self) -> None:
        self.asked += 1
        if self.asked >= self._stop_at:
            raise Cancelled

    def load(self, model_id: str) -> LoadedModel:
        return LoadedModel(replace(FILE, id=model_id), self._network)


def small() -> SmallSep:
    """The smallest network of the kind that ships, of random weights."""
    torch.manual_seed(1)
    return SmallSep((8, 16, 24, 32), (1, 1, 1, 1), words=("dog",)).eval().requires_grad_(False)


def splitting(patch: Any) -> None:
    """Make every network the one whose masks are known."""
    patch.setattr(Separator, "of", staticmethod(lambda _loaded: Splits()))
    patch.setattr("engines.separation.process.encoder_for", lambda *_given: Halves())
    patch.setattr("engines.separation.process.nearest", likeness)


def run(path: Path, *pictures: Path, **params: Any) -> Result:
    """One recording through the engine."""
    job = StudioJob(path.parent)
    return ClipSepEngine().run([path, *pictures], ClipSepParams(**params), job)


def two_tones(seconds: float, rate: int, channels: int = 1) -> tuple[NDArray[np.float32], ...]:
    """(C, n) of 500 Hz and of 3 kHz, each of another level in every channel."""
    time = np.arange(round(seconds * rate)) / rate
    level = 0.3 / (1.0 + np.arange(channels))[:, None]
    low = level * np.sin(2 * np.pi * 500.0 * time)
    high = level[::-1] * np.sin(2 * np.pi * 3000.0 * time + 1.0)
    return low.astype(np.float32), high.astype(np.float32)


def write(path: Path, sound: NDArray[np.floating], rate: int, subtype: str = "PCM_16") -> Path:
    """`sound` (C, n)."""
    soundfile.write(path, sound.T, rate, subtype=subtype)
    return path


def read(path: Path) -> NDArray[np.float32]:
    """(C, n)."""
    with open_sound(path) as reader:
        return np.concatenate(list(reader.blocks(1 << 16)), axis=1)
