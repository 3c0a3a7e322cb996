"""Tukey's lambda law: one number for the weight of the tails.

Quantile function Q(p) = (p^lam - (1 - p)^lam) / lam. lam = 0.14 is nearly Gaussian, 0 is the
logistic law, below it the tails are heavier; the standard deviation is finite above -0.5.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import beta

Array = NDArray[np.float64]

_EDGE = 1e-6  # quantiles drawn lie between this and one minus it
_NODES = 4001


def quantile(p: Array, lam: float) -> Array:
    """Q(p) for p in (0, 1), scale one."""
    if abs(lam) < 1e-9:
        return np.log(p) - np.log1p(-p)
    return (p**lam - (1.0 - p) ** lam) / lam


def spread(lam: float) -> float:
    """Standard deviation at scale one; `lam` above -0.5."""
    if abs(lam) < 1e-4:
        return math.pi / math.sqrt(3.0)
    # 2 / lam² · (1 / (1 + 2 lam) - B(lam + 1, lam + 1))
    return math.sqrt(2.0 / lam**2 * (1.0 / (1.0 + 2.0 * lam) - float(beta(lam + 1.0, lam + 1.0))))


def draw(random: np.random.Generator, shape: tuple[int, ...], lam: float) -> NDArray[np.float32]:
    """Samples at scale one."""
    p = random.random(shape, dtype=np.float32).astype(np.float64)
    np.clip(p, _EDGE, 1.0 - _EDGE, out=p)
    return quantile(p, lam).astype(np.float32)


def cdf(x: Array, lam: float) -> Array:
    """Distribution function at scale one, by interpolation of the quantile function."""
    grid = _grid()
    return np.interp(x, quantile(grid, lam), grid, left=0.0, right=1.0)


def _grid() -> Array:
    """Probabilities dense towards both ends."""
    x = np.linspace(-18.0, 18.0, _NODES)
    return 1.0 / (1.0 + np.exp(-x))
