"""Clean scenes and sensor noise of the RAW benches.

Ten sharp photographs come with the repository. The photographs that the recipes keep out of their
training give fourteen more, where the training data is at hand or can be fetched. Each is brought
to a linear Bayer mosaic, as a camera in daylight would hold it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines.base import UserError
from engines.raw.unprocess import decode_srgb
from engines.training.photos import photos
from studio.config import Settings

Floats = NDArray[np.float32]

PHOTOS = Path(__file__).resolve().parents[2] / "tests" / "data" / "photos"
CONDITIONS: tuple[tuple[str, float, float], ...] = (  # a Sony A7S II: ISO, K and sigma in DN
    ("ISO 400", 0.3825, 2.06),
    ("ISO 1600", 1.530, 6.299),
    ("ISO 3200", 3.060, 3.919),
    ("ISO 6400", 6.120, 7.116),
    ("ISO 12800", 12.24, 14.25),
    ("ISO 25600", 24.48, 25.85),
)
BLACK, WHITE = 512.0, 16383.0
SCALE = WHITE - BLACK
CROP = 256
MARGIN = 32  # even, so that the mirrored mosaic keeps its phase
NEUTRAL = np.array([0.48, 1.0, 0.62], dtype=np.float32)  # a daylight camera's grey
EXPOSURE = 0.7
# Photographs kept out of training -> crops: all but one the sharpest there, one of middling detail.
_HELD = {"Lichen-Branches": 4, "Bridge_by": 4, "wallpapers-Grey": 3, "wallpapers-Path": 3}


@dataclass(frozen=True)
class Sheet:
    """Crops side by side, each continued by its mirror image, for no picture has such seams.

    `mosaic` is (H, W) linear RGGB in [0, 1]; `names` are row by row.
    """

    mosaic: Floats
    names: tuple[str, ...]

    def crops(self, *pictures: Floats, share: int = 1) -> Iterator[tuple[Floats, ...]]:
        """The same crop of each picture that lies on this sheet, one after the other.

        Pictures may be `share` times as small; crops are views.
        """
        height, width = (side // share for side in self.mosaic.shape)
        side, margin = CROP // share, MARGIN // share
        for top in range(margin, height, side + 2 * margin):
            for left in range(margin, width, side + 2 * margin):
                yield tuple(p[top : top + side, left : left + side] for p in pictures)

    def every(self, count: int) -> Sheet:
        """Every `count`-th scene, in one row."""
        step = CROP + 2 * MARGIN
        height, width = self.mosaic.shape
        framed = [
            self.mosaic[top : top + step, left : left + step]
            for top in range(0, height, step) for left in range(0, width, step)
        ]  # fmt: skip
        return Sheet(np.concatenate(framed[::count], axis=1), self.names[::count])


def clean_sheet() -> Floats:
    """(512, 1280) linear RGGB mosaic in [0, 1] made of the ten crops, five a row.

    Raises:
        UserError: the photographs are not there (they come with the repository, not the package).
    """
    return _mosaic([crop for _, crop in _shipped()], 5)


def all_scenes() -> Sheet:
    """Twenty-four scenes, six a row; the ten that ship where the rest cannot be had.

    STUDIO_BENCH_DATA names the folder of training data (`train` keeps it under `cache`).

    Raises:
        UserError: not even the ten are there.
    """
    found = _shipped()
    kept = Settings.load().cache / "training" / "cache"
    try:
        found += _held_out(Path(os.environ.get("STUDIO_BENCH_DATA", kept)))
    except UserError as error:
        sys.stderr.write(f"Only the ten scenes that ship are measured: {error}\n")
    columns = 6 if len(found) == 24 else 5
    framed = [
        np.pad(crop, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), "reflect") for _, crop in found
    ]
    return Sheet(_mosaic(framed, columns), tuple(name for name, _ in found))


def add_noise(clean: Floats, gain: float, sigma: float, seed: int) -> Floats:
    """Photons, read noise and whole digital numbers, clipped as a sensor does; all in [0, 1]."""
    random = np.random.default_rng(seed)
    photons = random.poisson(clean.astype(np.float64) * SCALE / gain)
    raw = BLACK + gain * photons + random.normal(0.0, sigma, clean.shape)
    raw = np.clip(np.round(raw), 0.0, WHITE)
    return ((raw - BLACK) / SCALE).astype(np.float32)


def _shipped() -> list[tuple[str, Floats]]:
    files = sorted(PHOTOS.glob("*.png"))
    if not files:
        raise UserError("The photographs of this bench are in tests/data/photos of the repository")
    return [(f.stem, np.asarray(Image.open(f).convert("RGB"), np.float32) / 255.0) for f in files]


def _held_out(cache: Path) -> list[tuple[str, Floats]]:
    found: list[tuple[str, Floats]] = []
    for photo in photos(cache):
        for mark, count in _HELD.items():
            if mark not in photo.name:
                continue
            detail = np.abs(cv2.Laplacian(photo.pixels[:, :, 1].astype(np.float32), cv2.CV_32F))
            height, width = detail.shape
            windows = [
                (float(detail[top : top + CROP, left : left + CROP].mean()), top, left)
                for top in range(0, height - CROP + 1, CROP)
                for left in range(0, width - CROP + 1, CROP)
            ]
            windows.sort(reverse=True)
            for _, top, left in [*windows[: count - 1], windows[len(windows) // 2]]:
                crop = photo.pixels[top : top + CROP, left : left + CROP].astype(np.float32)
                found.append((f"{mark}-{top}-{left}", crop / np.float32(65535.0)))
    if len(found) != sum(_HELD.values()):
        raise UserError("the training data lacks the photographs that are kept out of training")
    return found


def _mosaic(crops: list[Floats], columns: int) -> Floats:
    rows = [np.concatenate(crops[i : i + columns], 1) for i in range(0, len(crops), columns)]
    camera = decode_srgb(np.concatenate(rows, axis=0)) * NEUTRAL * np.float32(EXPOSURE)
    mosaic = np.empty(camera.shape[:2], dtype=np.float32)
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = camera[y::2, x::2, channel]
    return mosaic
