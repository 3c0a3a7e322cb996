"""The two diffusions that carry clean speech to noisy speech, and their coefficients.

`OUVE` is SGMSE+'s Ornstein-Uhlenbeck variance-exploding SDE (Richter et al., TASLP 2023, eqs. 6
to 11), which StoRM uses too; `SBVE` is the variance-exploding Schroedinger bridge (Jukic et al.,
Interspeech 2024, table 1). Time runs from 0 (clean) to 1 (noisy). Noise on a complex spectrogram
has variance 1 in all: 1/2 in the real and 1/2 in the imaginary part.

Coefficients are float64 and live on the CPU, whatever the network computes in: near t = 1 those
of the bridge are differences of numbers that nearly cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

Time = float | Tensor


def spread(coefficient: Tensor, like: Tensor) -> Tensor:
    """A coefficient of shape [] or [B] so that it multiplies `like` [B, ...], in its precision."""
    shape = coefficient.shape + (1,) * (like.ndim - 1 if coefficient.ndim else 0)
    return coefficient.reshape(shape).to(like.device, like.real.dtype)


def _double(t: Time) -> Tensor:
    return torch.as_tensor(t, dtype=torch.float64, device="cpu")


@dataclass(frozen=True)
class OUVE:
    """dx = theta (y - x) dt + g(t) dw with g(t) = smin (smax/smin)^t sqrt(2 ln(smax/smin)).

    Attributes:
        theta: pull towards y, 1/time; above 0.
        sigma_min: scale of the noise at t = 0; above 0.
        sigma_max: scale of the noise at t = 1; above `sigma_min`.
    """

    theta: float = 1.5
    sigma_min: float = 0.05
    sigma_max: float = 0.5

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def decay(self, t: Time) -> Tensor:
        """Weight of x0 in the mean, exp(-theta t); y has the rest. Float64, shape of t."""
        return torch.exp(-self.theta * _double(t))

    def mean(self, x0: Tensor, y: Tensor, t: Time) -> Tensor:
        """Mean of x_t: [B, ...] for one time or a time for each item."""
        return y + spread(self.decay(t), x0) * (x0 - y)

    def std(self, t: Time) -> Tensor:
        """Standard deviation of x_t around its mean. Float64, shape of t."""
        time, log_ratio = _double(t), self._log_ratio
        grown = torch.exp(2 * log_ratio * time) - torch.exp(-2 * self.theta * time)
        return self.sigma_min * torch.sqrt(grown * log_ratio / (self.theta + log_ratio))

    def drift(self, x: Tensor, y: Tensor, t: Time) -> Tensor:
        """Pull towards y, theta (y - x); it does not depend on t."""
        return self.theta * (y - x)

    def diffusion(self, t: Time) -> Tensor:
        """g(t). Float64, shape of t."""
        growth = torch.exp(self._log_ratio * _double(t))
        return self.sigma_min * math.sqrt(2 * self._log_ratio) * growth

    def perturb(self, x0: Tensor, y: Tensor, t: Time, z: Tensor) -> Tensor:
        """x_t for standard noise z of the shape of x0."""
        return self.mean(x0, y, t) + spread(self.std(t), x0) * z

    def prior(self, origin: Tensor, z: Tensor, t: Time = 1.0) -> Tensor:
        """Where sampling starts: noise of x_t's size around y, or around an estimate for t < 1."""
        return origin + spread(self.std(t), origin) * z


@dataclass(frozen=True)
class SBVE:
    """Bridge between x0 at t = 0 and y at t = 1: no drift, g(t)^2 = c k^(2t).

    Attributes:
        k: growth of the diffusion; above 1.
        c: scale of the diffusion; above 0.
        guard: what the official code adds to `sigma_bar`^2 so that it may divide by it at t = 1;
            `exact()` gives the same bridge without.
    """

    k: float = 2.6
    c: float = 0.4
    guard: float = 1e-8

    def exact(self) -> SBVE:
        """The same bridge with no guard."""
        return SBVE(self.k, self.c, 0.0)

    def variance(self, t: Time) -> Tensor:
        """sigma_t^2, the variance gathered from 0 to t. Float64, shape of t."""
        return self.c * torch.expm1(2 * math.log(self.k) * _double(t)) / (2 * math.log(self.k))

    def variance_left(self, t: Time) -> Tensor:
        """sigma_bar_t^2, the variance still to come, plus the guard. Float64, shape of t."""
        return (self.variance(1.0) - self.variance(t)).clamp_min(0.0) + self.guard

    def mean(self, x0: Tensor, y: Tensor, t: Time) -> Tensor:
        """Mean of x_t between its two ends: [B, ...] for one time or a time for each item."""
        gone = self.variance(t) / self.variance(1.0)
        return x0 + spread(gone, x0) * (y - x0)

    def std(self, t: Time) -> Tensor:
        """Standard deviation of x_t around its mean. Float64, shape of t."""
        return torch.sqrt(self.variance(t) * self.variance_left(t) / self.variance(1.0))

    def drift(self, x: Tensor, y: Tensor, t: Time) -> Tensor:
        """Nought: the reference process has no drift."""
        return torch.zeros_like(x)

    def diffusion(self, t: Time) -> Tensor:
        """g(t). Float64, shape of t."""
        return math.sqrt(self.c) * torch.exp(math.log(self.k) * _double(t))

    def perturb(self, x0: Tensor, y: Tensor, t: Time, z: Tensor) -> Tensor:
        """x_t for standard noise z of the shape of x0."""
        return self.mean(x0, y, t) + spread(self.std(t), x0) * z
