"""Colours held to the input's after a network that invents.

Wavelet: structures wider than about 60 pixels come from the input (the à-trous scheme of
StableSR, Wang et al. 2023). Mean: mean and spread of each channel over the whole picture become
the input's (AdaIN, Huang and Belongie 2017).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

_LEVELS = 5
REACH = 2**_LEVELS - 1  # pixels that a low-passed one depends on, each way
_EPSILON = 1e-5


def low_pass(x: Tensor) -> Tensor:
    """(C, h, w) -> the same size: 1-2-1 filters of steps 1, 2, 4, 8, 16, the edge repeated."""
    for level in range(_LEVELS):
        for axis in (1, 2):
            x = _smoothed(x, axis, 2**level)
    return x


def _smoothed(x: Tensor, axis: int, step: int) -> Tensor:
    length = x.shape[axis]
    margins = (step, step, 0, 0) if axis == 2 else (0, 0, step, step)
    wide = pad(x[None], margins, mode="replicate")[0]
    sides = wide.narrow(axis, 0, length) + wide.narrow(axis, 2 * step, length)
    return sides.mul_(0.25).add_(x, alpha=0.5)


def wavelet(found: Tensor, reference: Tensor) -> Tensor:
    """Fine structures of `found` on the coarse ones of `reference`; both (C, h, w)."""
    return found - low_pass(found) + low_pass(reference)


@dataclass
class Statistics:
    """A `Sink` that finds mean and spread of each channel."""

    count: int = 0
    _sum: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.float64))
    _squares: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.float64))

    def take(self, rows: Tensor) -> None:
        """See `engines.superres.rows.Sink`."""
        values = rows.to(torch.float64)
        self.count += rows.shape[1] * rows.shape[2]
        self._sum = self._sum + values.sum((1, 2))
        self._squares = self._squares + values.square().sum((1, 2))

    def close(self) -> None:
        """See `engines.superres.rows.Sink`."""

    @property
    def mean(self) -> Tensor:
        """(C,) float64."""
        return self._sum / self.count

    @property
    def spread(self) -> Tensor:
        """(C,) float64 standard deviation, and a little more than 0."""
        return (self._squares / self.count - self.mean.square()).clamp(min=0).sqrt() + _EPSILON


@dataclass(frozen=True)
class Matched:
    """Gain and offset of each channel that give one picture the statistics of another."""

    gain: Tensor
    offset: Tensor

    @classmethod
    def between(cls, found: Statistics, reference: Statistics) -> Matched:
        """From what was found on both at the same size."""
        gain = reference.spread / found.spread
        offset = reference.mean - found.mean * gain
        return cls(gain.float().reshape(-1, 1, 1), offset.float().reshape(-1, 1, 1))

    def __call__(self, rows: Tensor) -> Tensor:
        """(C, n, w) -> the same with other colours."""
        return rows * self.gain + self.offset
