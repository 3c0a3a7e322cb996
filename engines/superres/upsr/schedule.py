"""The residual-shifting diffusion of UPSR: x_t lies between the large picture and ȳ.

Pictures are RGB in -1..1. ȳ is the cubic enlargement of the small picture, ŷ the regressor's
estimate; their difference says how much noise a pixel gets (UPSR, section 3; ResShift for the
schedule and the posterior).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LARGEST = 0.1  # half difference of ŷ and ȳ from which on a pixel counts as fully uncertain
_LEAST = 0.4  # share of the noise that a certain pixel gets
_MEAN_SQUARE = 0.3  # stands for the mean of the squared weights when x_t is brought to one size
_SIGNAL = 0.25  # variance of the pictures, likewise


def noise_weight(estimate: Tensor, cubic: Tensor) -> Tensor:
    """Share of the noise for each pixel and channel, 0.4..1; both arguments in -1..1."""
    unsure = ((estimate - cubic).abs() / 2.0).clamp(max=_LARGEST) / _LARGEST
    return _LEAST + (1.0 - _LEAST) * unsure


def share_unsure(weight: Tensor) -> Tensor:
    """How unsure the estimate is, 0..1, from `noise_weight`."""
    return (weight - _LEAST) / (1.0 - _LEAST)


@dataclass(frozen=True)
class Schedule:
    """How far x_t has gone from the large picture towards ȳ, and the noise that goes with it.

    Attributes:
        roots: the square roots of η, rising, one a step.
        times: what the network is told of each step: its place in the schedule of its training.
        kappa: standard deviation of the noise over the root of η.
    """

    roots: tuple[float, ...]
    times: tuple[float, ...]
    kappa: float = 2.5

    @classmethod
    def exponential(
        cls,
        steps: int = 5,
        *,
        power: float = 0.2,
        end: float = 0.99,
        least: float = 0.2,
        kappa: float = 2.5,
    ) -> Schedule:
        """ResShift's: the root of η rises exponentially from `begin` to `end`.

        `least` is the standard deviation of the noise after the first step at the most.
        """
        begin = min(least / kappa, least, math.sqrt(0.001))
        along = [(i / max(steps - 1, 1)) ** power for i in range(steps)]
        roots = tuple(begin * (end / begin) ** share for share in along)
        return cls(roots, tuple(float(i) for i in range(steps)), kappa)

    def of(self, steps: int) -> Schedule:
        """The same diffusion walked in another number of steps, from 1.

        Fewer are some of the steps of the training, the last always among them, and the first
        where there are two or more. More lie between them as the same formula has it, and the
        network, which never met them, is told the place between.
        """
        trained = self.steps
        if steps <= trained:
            along = [(trained - 1) * (1.0 - i / max(steps - 1, 1)) for i in range(steps)]
            kept = sorted({math.floor(place + 0.5) for place in along})
            return Schedule(
                tuple(self.roots[i] for i in kept), tuple(self.times[i] for i in kept), self.kappa
            )
        made = [(trained - 1) * i / (steps - 1) for i in range(steps)]
        return Schedule(tuple(self._root(place) for place in made), tuple(made), self.kappa)

    def _root(self, place: float) -> float:
        """Root of η between two steps of the training, geometrically."""
        below = min(int(place), self.steps - 2)
        low, high = self.roots[below], self.roots[below + 1]
        return low * (high / low) ** (place - below)

    @property
    def steps(self) -> int:
        """Calls of the network."""
        return len(self.roots)

    @property
    def etas(self) -> tuple[float, ...]:
        """η of each step."""
        return tuple(root**2 for root in self.roots)

    def eta_before(self, index: int) -> float:
        """η of the step before, 0 for the first."""
        return self.roots[index - 1] ** 2 if index else 0.0

    def scale(self, index: int) -> float:
        """Standard deviation that x_t is divided by before the network sees it."""
        return math.sqrt(_MEAN_SQUARE * self.roots[index] ** 2 * self.kappa**2 + _SIGNAL)

    def start(self, cubic: Tensor, weight: Tensor, noise: Tensor) -> Tensor:
        """What x is after the last step, where the large picture is all but gone: ȳ + κ√η·w·ε."""
        return cubic + self.kappa * self.roots[-1] * weight * noise

    def forward(
        self, clean: Tensor, cubic: Tensor, weight: Tensor, noise: Tensor, index: Tensor
    ) -> Tensor:
        """x_t of the large picture; `index` is (B,) int64."""
        root = torch.tensor(self.roots, dtype=clean.dtype, device=clean.device)[index]
        root = root.reshape(-1, 1, 1, 1)
        return (1 - root**2) * clean + root**2 * cubic + self.kappa * root * weight * noise

    def back(self, x: Tensor, found: Tensor, cubic: Tensor, index: int) -> Tensor:
        """What x was a step before, without new noise (DDIM); at the first step it is `found`.

        Args:
            x: x_t, unscaled.
            found: the network's estimate of the large picture.
            cubic: ȳ.
            index: the step of x_t.
        """
        eta, before = self.roots[index] ** 2, self.eta_before(index)
        kept = math.sqrt(before / eta)
        return (
            (1.0 - before - (1.0 - eta) * kept) * found
            + kept * x
            + (before - math.sqrt(eta * before)) * cubic
        )
