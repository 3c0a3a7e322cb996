"""IR-SDE, the mean-reverting diffusion of EDiffSR: from the large picture to μ plus noise.

dx = θ_t (μ - x) dt + σ_t dw with σ_t² = 2 λ² θ_t (Luo et al., ICML 2023). Pictures are RGB in 0..1
and μ is the enlarged small picture. Times are whole numbers; 0 is the large picture and T = 100
the noisy end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

_OFFSET = 0.008  # of the cosine schedule


@dataclass(frozen=True)
class IrSde:
    """The schedule with its constants.

    Attributes:
        steps: T.
        largest: λ, the standard deviation of the noise that x settles at.
        rest: share of x_0 - μ that is left at T.
    """

    steps: int = 100
    largest: float = 50.0 / 255.0
    rest: float = 0.005

    @cached_property
    def thetas(self) -> tuple[float, ...]:
        """θ at t = 0..T: one minus a squared cosine."""
        count = self.steps + 2

        def at(i: int) -> float:
            return math.cos((i / count + _OFFSET) / (1.0 + _OFFSET) * math.pi / 2.0) ** 2

        return tuple(1.0 - at(i) / at(0) for i in range(1, count))

    @cached_property
    def sums(self) -> tuple[float, ...]:
        """Θ_t: θ summed up to t, without that of 0."""
        sums = [0.0]
        for theta in self.thetas[1:]:
            sums.append(sums[-1] + theta)
        return tuple(sums)

    @property
    def dt(self) -> float:
        """Length of a step in the SDE's time."""
        return -math.log(self.rest) / self.sums[-1]

    def sigma(self, t: int) -> float:
        """σ_t, the strength of the noise that is drawn in at t."""
        return self.largest * math.sqrt(2.0 * self.thetas[t])

    def kept(self, t: int) -> float:
        """Share of x_0 - μ that is left at t: exp(-Θ_t dt)."""
        return math.exp(-self.sums[t] * self.dt)

    def spread(self, t: int) -> float:
        """Standard deviation of x_t around its mean."""
        return self.largest * math.sqrt(1.0 - math.exp(-2.0 * self.sums[t] * self.dt))

    def ratio(self, t: int) -> float:
        """Logarithm of `kept` over `spread`, for t from 1."""
        return math.log(self.kept(t) / self.spread(t))

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) whole times -> share of x_0 - μ left and spread, each (B, 1, 1, 1) float32."""
        index = t.long().cpu()
        tables = (
            [self.kept(i) for i in range(self.steps + 1)],
            [self.spread(i) for i in range(self.steps + 1)],
        )
        kept, spread = (
            torch.tensor(table)[index].to(t.device).reshape(-1, 1, 1, 1) for table in tables
        )
        return kept, spread

    def forward(self, clean: Tensor, mean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t of the large picture; `t` is (B,), `mean` μ."""
        kept, spread = self.at(t)
        return mean + (clean - mean) * kept + spread * noise

    def clean(self, x: Tensor, mean: Tensor, noise: Tensor, t: int) -> Tensor:
        """The estimate of x_0 that goes with an estimate of the noise in x_t."""
        return mean + (x - mean - self.spread(t) * noise) / self.kept(t)

    def noise(self, x: Tensor, mean: Tensor, clean: Tensor, t: int) -> Tensor:
        """The inverse of `clean`: the noise in x_t that goes with an estimate of x_0."""
        return (x - mean - (clean - mean) * self.kept(t)) / self.spread(t)

    def posterior(self, t: int, r: int) -> tuple[float, float, float]:
        """x_r given x_t and x_0, r < t: shares of x_t - μ and x_0 - μ, and the variance.

        Exact for the linear SDE whatever lies between; r = t - 1 is EDiffSR's "optimum step".
        """
        a = self.kept(t) / self.kept(r)
        b, c = self.kept(t), self.kept(r)
        whole = 1.0 - b**2
        return (
            a * (1.0 - c**2) / whole,
            c * (1.0 - a**2) / whole,
            self.largest**2 * (1.0 - a**2) * (1.0 - c**2) / whole,
        )
