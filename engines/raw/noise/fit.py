"""The noise line under a cloud of block variances that texture has pushed upwards.

A flat block's measured variance scatters about the line like a gamma variable whose shape is known
(half the block's degrees of freedom). Texture multiplies it by an unknown factor above one. Both
kinds are fitted at once by expectation and maximisation: each block gets the probability of being
flat, and the line is the gamma maximum-likelihood line of the flat ones (iterated weighted least
squares, weights 1/line²). Unlike the trimming of outliers above a line, this has no bias where
nothing is textured, since then every block keeps its weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ROUNDS = 80
_NODES = 2001
_LOG_RANGE = (-6.0, 8.0)  # of ln(variance / line)
_BINS = 12
_FIRST_QUANTILE = 0.2


@dataclass(frozen=True)
class Line:
    """variance = slope * mean + floor, and how well it is known.

    Attributes:
        slope: K in DN per electron; may be zero or below where the cloud says so.
        floor: sigma² in DN²; may be below zero.
        slope_error: standard error of the slope in DN per electron.
        flat: (n,) probability of each block to be flat, 0 to 1.
        spread: scatter of the flat blocks about the line over the expected one; 1 is perfect.
    """

    slope: float
    floor: float
    slope_error: float
    flat: Array
    spread: float


def fit_line(means: Array, variances: Array, shape: float) -> Line | None:
    """Fit the line under the cloud.

    Args:
        means: (n,) block means in DN.
        variances: (n,) block variances in DN², above 0.
        shape: half the degrees of freedom of one block's variance.

    Returns:
        None where there is no line to speak of (fewer than 8 blocks, or no positive start).
    """
    if means.size < 8:
        return None
    tiny = 1e-6 * float(np.median(variances)) + 1e-12
    slope, floor = _start(means, variances)
    x = np.linspace(*_LOG_RANGE, _NODES)
    flat_density = _log_gamma_density(x, shape)
    share, reach = 0.5, 0.7
    flat = np.ones_like(means)
    line = np.maximum(slope * means + floor, tiny)
    for _ in range(_ROUNDS):
        place = np.log(variances / line)
        near = np.interp(place, x, flat_density)
        far = np.interp(place, x, _stretched(x, flat_density, reach))
        flat = share * near / np.maximum(share * near + (1.0 - share) * far, 1e-300)
        share = float(np.clip(flat.mean(), 0.02, 0.999))
        rest = 1.0 - flat
        reach = float(np.clip((rest @ np.maximum(place, 0.0)) / max(rest.sum(), 1e-9), 0.1, 2.0))
        old = slope, floor
        slope, floor = weighted_line(means, variances, flat / line**2)
        line = np.maximum(slope * means + floor, tiny)
        if abs(slope - old[0]) <= 1e-5 * abs(slope) and abs(floor - old[1]) <= 1e-5 * abs(floor):
            break
    weight = flat * shape / line**2
    total, first, second = weight.sum(), weight @ means, weight @ means**2
    determinant = total * second - first * first
    error = float(np.sqrt(total / determinant)) if determinant > 0.0 else float("inf")
    ratio = variances / line - 1.0
    spread = float(np.sqrt(shape * (flat @ ratio**2) / max(float(flat.sum()), 1e-9)))
    return Line(float(slope), float(floor), error, flat, spread)


def _start(means: Array, variances: Array) -> tuple[float, float]:
    """A line through the low quantiles of the variance in bins of equally many blocks."""
    groups = np.array_split(np.argsort(means), min(_BINS, means.size // 4))
    centre = np.array([means[group].mean() for group in groups])
    low = np.array([np.quantile(variances[group], _FIRST_QUANTILE) for group in groups])
    slope, floor = weighted_line(centre, low, 1.0 / np.maximum(low, 1e-12) ** 2)
    if slope < 0.0 or floor < 0.0:
        ratio = float(np.median(low / np.maximum(centre, 1e-9)))
        return (ratio, 0.0) if floor < 0.0 < ratio else (0.0, float(np.median(low)))
    return slope, floor


def weighted_line(x: Array, y: Array, weight: Array) -> tuple[float, float]:
    """Slope and intercept of weighted least squares; a flat line where x has no span."""
    total = float(weight.sum())
    mean_x, mean_y = float(weight @ x) / total, float(weight @ y) / total
    square = float(weight @ (x - mean_x) ** 2)
    if square <= 0.0:
        return 0.0, mean_y
    slope = float(weight @ ((x - mean_x) * (y - mean_y))) / square
    return slope, mean_y - slope * mean_x


def _log_gamma_density(x: Array, shape: float) -> Array:
    """Density of ln(r) for r a gamma variable of mean one, on an even grid, area one."""
    exponent = shape * (x - np.exp(x))
    density = np.exp(exponent - exponent.max())
    return density / (density.sum() * (x[1] - x[0]))


def _stretched(x: Array, density: Array, reach: float) -> Array:
    """Density of ln(r) plus an exponential variable of mean `reach`: a textured block."""
    step = float(x[1] - x[0])
    tail = np.exp(-np.arange(0.0, 12.0 * reach, step) / reach)
    whole = np.convolve(density, tail / tail.sum())
    return whole[: x.size].astype(np.float64, copy=False)
