"""A job without a studio, and small upscalers whose results are known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from engines.base import Cancelled
from engines.superres.fast import FastNet
from engines.superres.upscaler import Make, Method, Tiling


class QuietJob:
    """An `engines.base.Job` whose networks are small ones with random weights."""

    device = "cpu"

    def __init__(self, workspace: Path, cancel_at: int | None = None) -> None:
        workspace.mkdir(exist_ok=True)
        self.workspace = workspace
        self.reports: list[tuple[float, float, str]] = []
        self.asked: list[str] = []
        self.checks = 0
        self._cancel_at = cancel_at

    def progress(self, done: float, total: float, text: str) -> None:
        self.reports.append((done, total, text))

    def check_cancelled(self) -> None:
        self.checks += 1
        if self.checks == self._cancel_at:
            raise Cancelled

    def resumable(self, key: str) -> Path:
        raise AssertionError(f"nothing is resumed here: {key}")

    def log(self, text: str) -> None:
        pass

    def load(self, model_id: str) -> Any:
        self.asked.append(model_id)
        torch.manual_seed(len(model_id))
        network = FastNet(2 if "x2" in model_id else 4, channels=8, blocks=2)
        nn.init.normal_(network.tail.weight, std=0.02)
        network.eval().requires_grad_(requires_grad=False)
        return SimpleNamespace(file=SimpleNamespace(id=model_id, sha256="0" * 64), network=network)


class Repeat:
    """Every pixel becomes scale x scale; `tilings` of any kind give the same picture."""

    def __init__(self, scale: int, tiling: Tiling) -> None:
        self.scale, self.tiling = scale, tiling
        self.seen: list[tuple[tuple[int, ...], tuple[int, int]]] = []

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        self.seen.append((tuple(lr.shape), place))
        return lr.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


def makes(*stages: Any, **more: Any) -> Make:
    return lambda _factor, _steps: Method("test", list(stages), **more)


def photo(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """(H, W, C) uint8 that is smooth here and sharp there."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    base = 120 + 60 * np.sin(x / 9 + y / 17) + 40 * (((x // 13) + (y // 7)) % 2)
    colours = base[:, :, None] + random.normal(0, 6, (height, width, channels))
    return colours.clip(0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **more: Any) -> Path:
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels).save(path, **more)
    return path


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


class Rows:
    """A `Sink` that keeps everything."""

    def __init__(self) -> None:
        self.parts: list[Tensor] = []
        self.closed = False

    def take(self, rows: Tensor) -> None:
        self.parts.append(rows.clone())

    def close(self) -> None:
        self.closed = True

    @property
    def picture(self) -> Tensor:
        assert self.closed
        return torch.cat(self.parts, dim=1)
