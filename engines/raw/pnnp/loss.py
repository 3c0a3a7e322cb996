"""The differentiable distribution loss: how far two laws are apart, through sorted samples.

Both laws are in units of the real one's standard deviation. Distribution functions are compared on
quantiles of the normal law, quantile functions on a grid that is dense in the tails: with evenly
spaced shares the tails are a thousandth of the loss and are not learned.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NODES = 1000
_FAR = 3.5  # standard normal, the furthest quantile that is compared
_EDGE = 1e-4


def distribution_loss(drawn: Tensor, grid: Tensor, real: Tensor, jitter: Tensor) -> Tensor:
    """L_C + L_Q of samples against laws.

    Args:
        drawn: (B, S) samples.
        grid: (n,) rising standard normal values at which the real laws are known.
        real: (B, n) their quantiles there.
        jitter: (2,) in [0, 1): moves both grids, so that no node is special.
    """
    ordered, _ = drawn.sort(dim=1)
    count = drawn.shape[1]
    # Quantiles: the order statistics, interpolated.
    z = torch.linspace(-_FAR, _FAR, _NODES, device=drawn.device)
    z = z + (jitter[0] - 0.5) * (2.0 * _FAR / _NODES)
    place = torch.special.ndtr(z) * count - 0.5
    low = place.floor().clamp(0, count - 2).long()
    share = (place - low).clamp(0.0, 1.0)
    found = ordered[:, low] * (1.0 - share) + ordered[:, low + 1] * share
    quantile = (found - _interpolated(z, grid, real)).abs().mean()
    # Distribution functions: between order statistics the share rises evenly.
    p = (torch.arange(_NODES, device=drawn.device) + jitter[1]) / _NODES
    x = torch.special.ndtri(p.clamp(_EDGE, 1.0 - _EDGE)).expand(len(drawn), -1).contiguous()
    above = torch.searchsorted(ordered.detach(), x).clamp(1, count - 1)
    left, right = ordered.gather(1, above - 1), ordered.gather(1, above)
    inside = ((x - left) / (right - left).clamp(min=1e-6)).clamp(0.0, 1.0)
    ours = (above - 0.5 + inside) / count
    theirs = torch.stack(
        [torch.special.ndtr(_inverse(x[n], grid, real[n])) for n in range(len(real))]
    )
    return quantile + (ours - theirs).abs().mean()


def _interpolated(z: Tensor, grid: Tensor, values: Tensor) -> Tensor:
    """(B, m) `values` (B, n) over `grid` (n,) at `z` (m,)."""
    above = torch.searchsorted(grid, z).clamp(1, len(grid) - 1)
    share = ((z - grid[above - 1]) / (grid[above] - grid[above - 1])).clamp(0.0, 1.0)
    return values[:, above - 1] * (1.0 - share) + values[:, above] * share


def _inverse(x: Tensor, grid: Tensor, values: Tensor) -> Tensor:
    """(m,) where on `grid` the rising `values` reach `x`."""
    above = torch.searchsorted(values, x).clamp(1, len(grid) - 1)
    step = (values[above] - values[above - 1]).clamp(min=1e-9)
    share = ((x - values[above - 1]) / step).clamp(0.0, 1.0)
    return grid[above - 1] * (1.0 - share) + grid[above] * share
