"""Tukey's lambda law fitted to whole numbers.

A file holds rounded levels, and at low ISO a step is as wide as the noise. So the likelihood is
that of the rounded values: each pixel's expected level is known (black, bias, its row's offset),
and the probability of its number is that of the interval about it. The counts are kept by the
fraction of the expected level, which makes any number of pixels one small table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import ndtri

from engines.raw.noise import tukey

Array = NDArray[np.float64]

PHASES = 16
_LAM = (-0.45, 0.6)
_STRAY = 1e-7  # share of pixels that no law explains
_LEAST_SIGMA = 0.3  # DN; below it whole numbers say nothing of the shape
_POINTS = 161
_NODES = 2001
_WIDE = 1.5  # DN; a smaller scale makes the steps of a quantile plot seen
_TAIL = 4.2  # standard normal quantile at the ends of a plot


class Counts:
    """How often each whole number occurs, by the fraction of the level that was expected."""

    def __init__(self, reach: int) -> None:
        self.reach = reach
        self.table = np.zeros((PHASES, 2 * reach + 1), dtype=np.int64)

    def add(self, values: NDArray[np.uint16], expected: NDArray[np.float32]) -> None:
        """Count pixels: `expected` is their level without pixel noise, DN, of `values`' shape."""
        phase = np.rint(expected * PHASES).astype(np.int64)
        whole, part = np.divmod(phase, PHASES)
        place = np.clip(values.astype(np.int64) - whole, -self.reach, self.reach) + self.reach
        width = 2 * self.reach + 1
        found = np.bincount((part * width + place).reshape(-1), minlength=PHASES * width)
        self.table += found.reshape(PHASES, width)

    @property
    def total(self) -> int:
        """Pixels counted."""
        return int(self.table.sum())

    @property
    def offsets(self) -> Array:
        """(PHASES, n) distance of each entry from the expected level, DN."""
        whole = np.arange(-self.reach, self.reach + 1, dtype=np.float64)
        return whole - np.arange(PHASES, dtype=np.float64)[:, None] / PHASES

    def deviation(self) -> float:
        """Standard deviation about the expected level, rounding included, DN."""
        return math.sqrt(float((self.table * self.offsets**2).sum()) / max(self.total, 1))

    def quantiles(self, p: Array, lam: float, scale: float) -> Array:
        """Quantiles of the values before rounding.

        Wide steps are filled as the law says, fine ones evenly.
        """
        places, counts = self.offsets.reshape(-1), self.table.reshape(-1)
        places, counts = places[counts > 0], counts[counts > 0]
        if scale < _WIDE:
            x = np.linspace(places.min() - 0.5, places.max() + 0.5, _NODES)
            low, high = (tukey.cdf((places + end) / scale, lam) for end in (-0.5, 0.5))
            along = (tukey.cdf(x / scale, lam)[:, None] - low) / np.maximum(high - low, 1e-12)
            return np.interp(p, np.clip(along, 0.0, 1.0) @ counts / self.total, x)
        edges = np.concatenate([places - 0.5, places + 0.5])
        slope = np.concatenate([counts, -counts]).astype(np.float64)
        turn = np.argsort(edges, kind="stable")
        edges, slope = edges[turn], np.cumsum(slope[turn])
        mass = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(edges))]) / self.total
        return np.interp(p, mass, edges)


@dataclass(frozen=True)
class Law:
    """A fitted law.

    Attributes:
        lam, scale: of Tukey's law; None where rounding hides the shape.
        r2, r2_gauss: squared correlation of the quantile plots with this law and with a Gaussian.
        plot: (n, 3) Gaussian and Tukey quantiles (both at scale one) and the measured ones, DN.
    """

    lam: float | None
    scale: float | None
    r2: float | None
    r2_gauss: float | None
    plot: Array


def fit(counts: Counts, sigma: float) -> Law:
    """Most likely law of what was counted; `sigma` is its standard deviation without rounding."""
    if sigma < _LEAST_SIGMA or counts.total < 1000:
        return Law(None, None, None, None, np.empty((0, 3)))
    upper, lower = counts.offsets + 0.5, counts.offsets - 0.5
    seen = counts.table > 0

    def cost(point: Array) -> float:
        lam, scale = float(point[0]), math.exp(float(point[1]))
        if not _LAM[0] < lam < _LAM[1]:
            return 1e12
        share = tukey.cdf(upper[seen] / scale, lam) - tukey.cdf(lower[seen] / scale, lam)
        return -float(counts.table[seen] @ np.log(share + _STRAY)) / counts.total

    start = np.array([0.05, math.log(sigma / tukey.spread(0.05))])
    steps = np.array([start, start + np.array([0.08, 0.0]), start + np.array([0.0, 0.1])])
    found = minimize(
        cost,
        start,
        method="Nelder-Mead",
        options={"initial_simplex": steps, "xatol": 1e-4, "fatol": 1e-10, "maxiter": 200},
    ).x
    lam, scale = float(found[0]), math.exp(float(found[1]))
    # As far out as there are pixels enough for a quantile.
    end = min(_TAIL, -float(ndtri(20.0 / counts.total)))
    normal = np.linspace(-end, end, _POINTS)
    p = 0.5 * (1.0 + np.vectorize(math.erf)(normal / math.sqrt(2.0)))
    measured = counts.quantiles(p, lam, scale)
    heavy = tukey.quantile(p, lam)
    plot = np.stack([normal, heavy, measured], axis=1)
    return Law(lam, scale, _r2(heavy, measured), _r2(normal, measured), plot)


def _r2(a: Array, b: Array) -> float:
    return float(np.corrcoef(a, b)[0, 1] ** 2)
