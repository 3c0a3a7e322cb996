"""How steady a film is: what changes between frames besides what moves."""

from __future__ import annotations

from torch import Tensor

from engines.superres.negvsr.blocks import warp
from engines.superres.negvsr.flow import dense_search

_HIDDEN = 6.0 / 255.0  # where even the original does not fit its own next frame, it was covered


def unsteadiness(found: Tensor, truth: Tensor, border: int) -> float:
    """Mean absolute difference between frames and their next ones moved back, in levels of 8 bits.

    The movement is that of the original; places that get covered or uncovered are left out.

    Args:
        found: (T, 3, H, W) RGB in 0..1, at least two frames.
        truth: the original of the same size; with itself it gives what filming alone makes.
        border: pixels that are left out at each edge.
    """
    flow = dense_search(truth[:-1], truth[1:])
    fits = (truth[:-1] - warp(truth[1:], flow, border=True)).abs().amax(1, keepdim=True) < _HIDDEN
    error = (found[:-1] - warp(found[1:], flow, border=True)).abs().mean(1, keepdim=True)
    height, width = error.shape[-2:]
    inner = (..., slice(border, height - border), slice(border, width - border))
    weights = fits[inner].float()
    return float((error[inner] * weights).sum() / weights.sum().clamp_min(1.0)) * 255.0
