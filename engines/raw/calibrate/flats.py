"""Gain by photon transfer: the variance of light rises with its mean, and the slope is K.

Two frames of one exposure are subtracted, so that everything fixed (dust, vignetting, unequal
photosites) cancels. Each of the four planes of each pair gives points of its own, in blocks of the
middle of the frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.raw.calibrate.darks import Dark, Desk

Array = NDArray[np.float64]

_BLOCK = 64  # pixels of one plane
_BLOCKS = 12  # a side, at most
_RANGE = (0.02, 0.7)  # of black to white
_LEAST_SPAN = 1.5  # brightest over darkest mean, for a slope


class Flat(Dark, Protocol):
    """An evenly lit frame."""

    @property
    def span(self) -> float:
        """White minus black, DN."""
        ...


@dataclass(frozen=True)
class Gain:
    """K of one setting.

    Attributes:
        K: DN per electron.
        error: its standard error as a share.
        floor: variance at no light, DN².
        r2: of the line.
        points: (n, 2) mean and variance of every plane of every pair, DN and DN².
    """

    K: float
    error: float
    floor: float
    r2: float
    points: Array


def measure_gain(
    pairs: Sequence[tuple[Flat, Flat]],
    dark_variance: float | None,
    job: Desk,
    step: Callable[[str], None],
) -> Gain | None:
    """K of one setting; None where the pairs span too little brightness for a slope.

    Args:
        pairs: two flat frames of one exposure each.
        dark_variance: of dark frames of this setting (rows and rounding included), DN², if known.
        job: for reading and cancelling.
        step: told what goes on, before each pair.
    """
    means: list[Array] = []
    variances: list[Array] = []
    for one, other in pairs:
        step(f"reading {one.name} and {other.name}")
        a = one.mosaic(job.workspace)
        job.check_cancelled()
        b = other.mosaic(job.workspace)
        for site in range(4):
            job.check_cancelled()
            y, x = divmod(site, 2)
            mean, variance = _blocks(a[y::2, x::2], b[y::2, x::2], one.black[site], one.span)
            means.append(mean)
            variances.append(variance)
    mean, variance = np.concatenate(means), np.concatenate(variances)
    freedom = float(_BLOCK * _BLOCK - _BLOCK)
    if mean.size < 4 or (dark_variance is None and mean.max() < _LEAST_SPAN * mean.min()):
        return None
    freedoms = np.full(mean.size, freedom)
    if dark_variance is not None:  # the dark frames' own point, known better than any block
        mean, variance = np.append(mean, 0.0), np.append(variance, dark_variance)
        freedoms = np.append(freedoms, 100.0 * freedom)
    slope, floor, error = _line(mean, variance, freedoms)
    if slope <= 0.0:
        return None
    points = np.array([[m.mean(), v.mean()] for m, v in zip(means, variances, strict=True)])
    left = points[:, 1] - slope * points[:, 0] - floor
    whole = points[:, 1] - points[:, 1].mean()
    r2 = 1.0 - float(left @ left) / max(float(whole @ whole), 1e-300)
    return Gain(slope, error / slope, floor, r2, points)


def _blocks(
    one: NDArray[np.uint16], other: NDArray[np.uint16], black: float, span: float
) -> tuple[Array, Array]:
    """Means above black and variances of the blocks in the middle of one plane."""
    side = min(_BLOCK, *one.shape)
    rows, columns = (min(_BLOCKS, size // side) for size in one.shape)
    top, left = ((size - n * side) // 2 for size, n in zip(one.shape, (rows, columns), strict=True))
    part = slice(top, top + rows * side), slice(left, left + columns * side)
    a, b = (
        plane[part].astype(np.float64).reshape(rows, side, columns, side).swapaxes(1, 2) - black
        for plane in (one, other)
    )
    ratio = float(a.mean() / max(float(b.mean()), 1e-9))  # lamps flicker
    difference = a - ratio * b
    difference -= difference.mean(axis=3, keepdims=True)  # rows' offsets
    variance = np.square(difference).mean(axis=(2, 3)) * side / (side - 1) / (1.0 + ratio**2)
    mean = 0.5 * (a + b).mean(axis=(2, 3))
    inside = (mean > _RANGE[0] * span) & (mean < _RANGE[1] * span)
    return mean[inside], variance[inside]


def _line(mean: Array, variance: Array, freedoms: Array) -> tuple[float, float, float]:
    """Slope, floor and the slope's error; a variance scatters in proportion to itself."""
    slope, floor = float(np.sum(variance) / max(float(np.sum(mean)), 1e-9)), 0.0
    error = math.inf
    for _ in range(20):
        expected = np.maximum(slope * mean + floor, 1e-6)
        weight = freedoms / (2.0 * expected**2)
        total, first, second = weight.sum(), weight @ mean, weight @ mean**2
        determinant = total * second - first**2
        if determinant <= 0.0:
            break
        slope = float(total * (weight @ (mean * variance)) - first * (weight @ variance))
        slope /= float(determinant)
        floor = float((weight @ variance) - slope * first) / float(total)
        error = math.sqrt(float(total / determinant))
    return slope, floor, error
