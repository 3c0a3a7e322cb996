"""How natural a picture's grain and edges are, without its original: NIQE's measure, our model.

Features and distance are those of NIQE (Mittal, Soundararajan and Bovik, IEEE SPL 2013): 18 numbers
of locally normalised luma on each of two scales, of blocks of 96 pixels. The model of unspoilt
pictures is fitted to the photographs that our networks train on, so the figures are not comparable
with published ones; say "NIQE (ours)".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.special import gamma

Values = NDArray[np.float64]

MODEL = Path(__file__).resolve().parents[3] / "assets" / "measures" / "natural.safetensors"
_BLOCK = 96
_SHARP = 0.75  # share of the sharpest block's contrast that a block of the model needs
_SHAPES = np.arange(0.2, 10.0, 0.001)
_RATIOS = gamma(2.0 / _SHAPES) ** 2 / (gamma(1.0 / _SHAPES) * gamma(3.0 / _SHAPES))


@dataclass(frozen=True)
class Natural:
    """Mean (36,) and covariance (36, 36) of the features of unspoilt pictures."""

    mean: Values
    covariance: Values

    @classmethod
    def load(cls, path: Path = MODEL) -> Natural:
        """The model that ships."""
        tensors = load_file(path)
        return cls(tensors["mean"].astype(float), tensors["covariance"].astype(float))

    @classmethod
    def fit(cls, pictures: list[Values]) -> Natural:
        """From (H, W) luma in 0..255, the sharp blocks alone."""
        found = np.concatenate([features(one, sharp=True) for one in pictures])
        return cls(found.mean(axis=0), np.cov(found, rowvar=False))

    def save(self, path: Path) -> None:
        """Write a file for `load`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"mean": self.mean, "covariance": self.covariance}
        save_file({name: value.astype(np.float32) for name, value in tensors.items()}, path)

    def distance(self, pictures: list[Values]) -> float:
        """Of (H, W) luma in 0..255, at least 96 pixels each way; smaller is more natural.

        The blocks of all pictures are taken together: a small crop alone has too few.
        """
        found = np.concatenate([features(one, sharp=False) for one in pictures])
        apart = self.mean - found.mean(axis=0)
        own = np.cov(found, rowvar=False) if len(found) > 1 else np.zeros_like(self.covariance)
        return float(np.sqrt(apart @ np.linalg.pinv((self.covariance + own) / 2.0) @ apart))


def features(luma: Values, *, sharp: bool) -> Values:
    """(blocks, 36) of (H, W) luma in 0..255; `sharp` leaves out blocks of little contrast."""
    height, width = (side // _BLOCK * _BLOCK for side in luma.shape)
    scaled = luma[:height, :width].astype(np.float64)
    columns: list[Values] = []
    keep = np.ones(0, dtype=bool)
    for block in (_BLOCK, _BLOCK // 2):
        normal, contrast = _normalised(scaled)
        if block == _BLOCK:
            strength = np.array([tile.mean() for tile in _tiles(contrast, block)])
            keep = strength > _SHARP * strength.max() if sharp else np.ones(len(strength), bool)
        columns.append(np.array([_numbers(tile) for tile in _tiles(normal, block)]))
        size = (scaled.shape[1] // 2, scaled.shape[0] // 2)
        scaled = cv2.resize(scaled, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    return np.concatenate(columns, axis=1)[keep]


def _tiles(picture: Values, side: int) -> list[Values]:
    rows, columns = picture.shape[0] // side, picture.shape[1] // side
    return [
        picture[y * side : (y + 1) * side, x * side : (x + 1) * side]
        for y in range(rows)
        for x in range(columns)
    ]


def _normalised(luma: Values) -> tuple[Values, Values]:
    """Luma less its local mean over its local deviation, and that deviation."""
    border = cv2.BORDER_REPLICATE
    mean = np.asarray(cv2.GaussianBlur(luma, (7, 7), 7 / 6, borderType=border))
    square = np.asarray(cv2.GaussianBlur(luma * luma, (7, 7), 7 / 6, borderType=border))
    deviation = np.sqrt(np.maximum(square - mean * mean, 0.0))
    return (luma - mean) / (deviation + 1.0), deviation


def _numbers(tile: Values) -> list[float]:
    """Shape and spread of the values, then of the products of neighbours in four directions."""
    shape, left, right = _asymmetric(tile)
    numbers = [shape, (left + right) / 2.0]
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = _asymmetric(tile * np.roll(tile, (dy, dx), axis=(0, 1)))
        mean = (right - left) * gamma(2.0 / shape) / gamma(1.0 / shape)
        numbers += [shape, mean, left, right]
    return numbers


def _asymmetric(values: Values) -> tuple[float, float, float]:
    """Shape, left and right scale of an asymmetric generalised Gaussian, by its moments."""
    negative, positive = values[values < 0.0], values[values > 0.0]
    left = np.sqrt(np.mean(negative**2)) if negative.size else 1e-6
    right = np.sqrt(np.mean(positive**2)) if positive.size else 1e-6
    balance = left / right
    ratio = np.abs(values).mean() ** 2 / max(float(np.mean(values**2)), 1e-12)
    told = ratio * (balance**3 + 1.0) * (balance + 1.0) / (balance**2 + 1.0) ** 2
    shape = float(_SHAPES[int(np.argmin((_RATIOS - told) ** 2))])
    scale = np.sqrt(gamma(1.0 / shape) / gamma(3.0 / shape))
    return shape, float(left * scale), float(right * scale)
