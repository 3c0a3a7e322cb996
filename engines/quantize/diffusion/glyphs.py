"""Drawn letters and figures to train a small diffusion model on, or squares of one's own photos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.training.photos import Photo, photos

SIDE = 32
_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ2345679"
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)
_OVER = 4  # drawn larger and reduced, for smooth edges


class Pictures:
    """Endless pictures of 32 x 32: a coloured letter on a soft ground, or a square of a photo."""

    def __init__(self, cache: Path, data: Path | None) -> None:
        """Draw letters, or take the photos of the folder `data` instead."""
        self._photos: list[Photo] = [] if data is None else photos(cache, data)

    def draw(self, random: np.random.Generator, count: int) -> Tensor:
        """(count, 3, 32, 32) float32 in -1..1."""
        drawn = [self._photo(random) if self._photos else glyph(random) for _ in range(count)]
        pictures = np.stack(drawn).transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(pictures, np.float32) * 2.0 - 1.0)

    def _photo(self, random: np.random.Generator) -> NDArray[np.float32]:
        pixels = self._photos[int(random.integers(len(self._photos)))].pixels
        height, width = pixels.shape[:2]
        side = int(random.integers(4 * SIDE, min(height, width) + 1))
        y, x = (int(random.integers(extent - side + 1)) for extent in (height, width))
        square = pixels[y : y + side, x : x + side].astype(np.float32) / 65535.0
        return cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)


def glyph(random: np.random.Generator) -> NDArray[np.float32]:
    """One letter or figure, (32, 32, 3) in 0..1: font, place, slant, size and colours of chance."""
    large = SIDE * _OVER
    letter = _LETTERS[int(random.integers(len(_LETTERS)))]
    font, scale = _FONTS[int(random.integers(len(_FONTS)))], float(random.uniform(2.6, 3.6))
    thick = int(random.integers(7, 14))
    (width, height), _ = cv2.getTextSize(letter, font, scale, thick)
    at = (large - width) // 2, (large + height) // 2
    mask = np.zeros((large, large), np.uint8)
    cv2.putText(mask, letter, at, font, scale, 255, thick, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((large / 2, large / 2), float(random.normal(0, 8)), 1.0)
    turn[:, 2] += random.normal(0, 0.04 * large, 2)
    mask = cv2.warpAffine(mask, turn, (large, large), flags=cv2.INTER_LINEAR)
    small = cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_AREA)[..., None] / 255.0
    dark, light = random.uniform(0.0, 0.35, 3), random.uniform(0.65, 1.0, 3)
    ink, ground = (dark, light) if random.random() < 0.5 else (light, dark)
    ramp = np.linspace(-1, 1, SIDE)
    slope = random.normal(0, 0.08, 2)
    shade = slope[0] * ramp[:, None] + slope[1] * ramp[None]
    picture = (1 - small) * (ground + shade[..., None]) + small * ink
    return picture.clip(0, 1).astype(np.float32)
