"""Variance stabilisation of Poisson-Gaussian noise, free of bias in the mean.

Model: a pixel Y in digital numbers above black is ``Y = K·Poisson(λ/K) + N(0, σ²)`` with gain K
(DN per electron), read noise σ (DN) and expectation λ (DN). The generalised Anscombe transform

    f(Y) = (2/K)·√max(0, K·Y + 3/8·K² + σ²)

has nearly unit variance, but E[f(Y)] lies below f(λ), much so in the dark. YOND (section on the
expectation-matched VST) subtracts that bias beforehand, so that the plain algebraic inverse of a
perfectly averaged z is λ again.

In electrons (u = λ/K, r = σ/K) one image has one r, and the bias is a function of f alone:
`BiasTable` holds it on an even grid of f, which makes the look-up one multiplication and one
gather a pixel. The published two-dimensional table over (u, r) is not needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_SERIES_FROM = 60.0  # electrons; above it the series below is exact to 1e-6
_NODES = 384  # up to there
_TABLE_TOP = 262_144.0  # electrons, more than a pixel holds; the bias is 5e-4 of the noise there


def forward(y: Tensor, gain: float, sigma: float) -> Tensor:
    """f(Y): `y` in DN above black, any shape and float type; `gain` in DN per electron (> 0)."""
    return (2.0 / gain) * torch.sqrt(
        torch.clamp(gain * y + 0.375 * gain * gain + sigma * sigma, min=0.0)
    )


def algebraic_inverse(z: Tensor, gain: float, sigma: float) -> Tensor:
    """Y with f(Y) = z, in DN; below f(0) it goes on to negative DN rather than to a clamp.

    The published code clamps at 0, which lifts deep blacks; cameras that keep a pedestal need the
    negative half of the noise.
    """
    ratio = sigma / gain
    return gain * (0.25 * z * z.abs() - (0.375 + ratio * ratio))


def unbiased_inverse(z: Tensor, gain: float, sigma: float) -> Tensor:
    """Closed-form exact unbiased inverse (Mäkitalo and Foi 2013, eq. 6), DN; for z without bias
    correction, such as the output of a classical denoiser.
    """
    ratio = sigma / gain
    z = torch.clamp(z, min=1.0)  # f(0) is at least 1.22, and below 1 the series runs away
    root = 1.5**0.5
    series = 0.25 * z * z + 0.25 * root / z - 1.375 / z**2 + 0.625 * root / z**3
    return gain * (series - (0.125 + ratio * ratio))


def bias_numeric(u: Tensor, ratio: float) -> Tensor:
    """E[f(Y)] - f(λ) by summation over photon counts and read noise, float64.

    The reference for everything else here. An even grid is used for the Gaussian: quadrature of
    Gauss and Hermite misses the kink of f at zero by 10 %.

    Args:
        u: expectations in electrons (>= 0), any shape.
        ratio: read noise in electrons.
    """
    u = u.to(torch.float64)
    flat = u.reshape(-1)
    g = torch.linspace(-7.0, 7.0, 1401, dtype=torch.float64)
    weight = torch.exp(-0.5 * g * g)
    weight /= weight.sum()
    top = int(flat.max().item() + 8.0 * (flat.max().item() + 1.0) ** 0.5 + 12.0)
    k = torch.arange(top + 1, dtype=torch.float64)
    # E over the read noise of f at every photon count, then E over the counts.
    inner = forward(k[:, None] + ratio * g[None, :], 1.0, ratio) @ weight  # (k,)
    log_poisson = torch.xlogy(k[None, :], flat[:, None]) - flat[:, None] - torch.lgamma(k + 1.0)
    mean = torch.exp(log_poisson) @ inner
    return (mean - forward(flat, 1.0, ratio)).reshape(u.shape)


def bias_series(u: Tensor, ratio: float) -> Tensor:
    """The same by a fourth-order expansion about λ; good where u is well above 10 electrons."""
    h = u + 0.375 + ratio * ratio
    v = u + ratio * ratio
    return (
        2.0
        * torch.sqrt(h)
        * (-v / (8.0 * h**2) + u / (16.0 * h**3) - 5.0 * (u + 3.0 * v**2) / (128.0 * h**4))
    )


@dataclass(frozen=True)
class BiasTable:
    """The bias of f for one r = σ/K, on an even grid of f.

    Attributes:
        start: f at u = 0.
        step: distance of the nodes in f.
        values: (n,) float32, the bias at each node.
    """

    start: float
    step: float
    values: Tensor

    def __call__(self, f: Tensor) -> Tensor:
        """Bias at transform values `f` (any shape); below f(0) it is the bias at zero signal."""
        values = self.values.to(f.device, f.dtype)
        steps = values.diff(append=values[-1:])  # one look-up fewer than the next node's value
        place = ((f - self.start) * (1.0 / self.step)).clamp_(0.0, values.numel() - 1)
        low = place.to(torch.int32).flatten()
        part = place.sub_(low.reshape(place.shape))
        base, step = (one.index_select(0, low).reshape(f.shape) for one in (values, steps))
        return base.addcmul_(part, step)


def bias_table(gain: float, sigma: float) -> BiasTable:
    """Compute the table for one estimate; about 20 ms."""
    ratio = sigma / gain
    ends = torch.tensor([0.0, _SERIES_FROM, _TABLE_TOP], dtype=torch.float64)
    start, series_from, top = forward(ends, 1.0, ratio).tolist()
    step = (series_from - start) / (_NODES - 1)
    grid = start + step * torch.arange(math.ceil((top - start) / step) + 1, dtype=torch.float64)
    u = torch.clamp(0.25 * grid * grid - (0.375 + ratio * ratio), min=0.0)
    values = bias_series(u, ratio)
    # Beyond ten electrons of read noise the kink at zero is out of reach and the series is exact.
    if ratio <= 10.0:
        values[:_NODES] = bias_numeric(u[:_NODES], ratio)
    return BiasTable(start, step, values.to(torch.float32))


def stabilise(y: Tensor, gain: float, sigma: float, table: BiasTable) -> Tensor:
    """Return z = f(Y) - b(max(Y, 0)): unit variance, and E[z] ≈ f(λ).

    Args:
        y: DN above black, negative values allowed, any shape.
        gain: K in DN per electron.
        sigma: read noise in DN.
        table: `bias_table(gain, sigma)`.
    """
    f = forward(y, gain, sigma)
    return f - table(f)
