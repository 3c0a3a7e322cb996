"""Blur kernels of the practical degradation (Real-ESRGAN, ICCVW 2021; UPSR's ranges).

Every kernel is (k, k) float32 with an odd k and sums to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import j1

Kernel = NDArray[np.float32]

# iso, aniso, generalised iso, generalised aniso, plateau iso, plateau aniso
KINDS = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
SINC_SHARE = 0.1


@dataclass(frozen=True)
class Blur:
    """Ranges of one stage: largest kernel and largest standard deviation in pixels."""

    largest: int
    sigma: tuple[float, float]


def draw_kernel(random: np.random.Generator, blur: Blur) -> Kernel:
    """A kernel as one stage draws it: a sinc one time in ten, else out of six Gaussian kinds."""
    size = _odd(random, blur.largest)
    if random.random() < SINC_SHARE:
        lowest = np.pi / 3 if size < 13 else np.pi / 5
        return sinc(size, random.uniform(lowest, np.pi))
    kind = int(random.choice(6, p=KINDS))
    sigma = [random.uniform(*blur.sigma) for _ in range(2)]
    if kind % 2 == 0:
        sigma[1] = sigma[0]
    angle = random.uniform(-np.pi, np.pi)
    if kind < 2:
        return gaussian(size, sigma, angle)
    if kind < 4:
        beta = random.uniform(0.5, 1.0) if random.random() < 0.5 else random.uniform(1.0, 4.0)
        return gaussian(size, sigma, angle, beta)
    beta = random.uniform(1.0, 2.0) if random.random() < 0.5 else 1.0
    return plateau(size, sigma, angle, beta)


def draw_last(random: np.random.Generator) -> Kernel:
    """The final sinc, or nothing (a single one) one time in five."""
    if random.random() >= 0.8:
        return np.ones((1, 1), np.float32)
    return sinc(_odd(random, 13), random.uniform(np.pi / 3, np.pi))


def gaussian(size: int, sigma: Sequence[float], angle: float, beta: float = 1.0) -> Kernel:
    """exp(-q^beta / 2) with q = x' S^-1 x; beta 1 is a Gaussian, others its generalisation."""
    return _normal(np.exp(-0.5 * _distance(size, sigma, angle) ** beta))


def plateau(size: int, sigma: Sequence[float], angle: float, beta: float) -> Kernel:
    """1 / (1 + q^beta)."""
    return _normal(1.0 / (1.0 + _distance(size, sigma, angle) ** beta))


def sinc(size: int, cutoff: float) -> Kernel:
    """Circular low-pass of the given cut-off (radians a pixel): w J1(w r) / (2 pi r)."""
    axis = np.arange(size) - size // 2
    radius = np.hypot(*np.meshgrid(axis, axis))
    radius[size // 2, size // 2] = 1.0
    values = cutoff * j1(cutoff * radius) / (2.0 * np.pi * radius)
    values[size // 2, size // 2] = cutoff**2 / (4.0 * np.pi)
    return _normal(values)


def _odd(random: np.random.Generator, largest: int) -> int:
    return 2 * int(random.integers(1, largest // 2 + 1)) + 1


def _distance(size: int, sigma: Sequence[float], angle: float) -> NDArray[np.float64]:
    axis = np.arange(size) - size // 2
    x, y = np.meshgrid(axis, axis)
    along = (np.cos(angle) * x + np.sin(angle) * y) / sigma[0]
    across = (-np.sin(angle) * x + np.cos(angle) * y) / sigma[1]
    return along**2 + across**2


def _normal(values: NDArray[np.float64]) -> Kernel:
    return (values / values.sum()).astype(np.float32)
