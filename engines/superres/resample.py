"""Resizing by separable filters, of whole pictures and of strips that add up to them.

Cubic (a = -0.5, Keys 1981) and Lanczos (3 lobes) as Pillow and MATLAB do them: widened where they
reduce, cut off and normalised at the edges. `torch_bicubic` is PyTorch's own cubic (a = -0.75,
never widened), which UPSR's diffusion starts from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

Kind = Literal["bicubic", "lanczos", "area"]
_BLOCK = 64  # outputs that are filtered at once


@dataclass(frozen=True)
class Taps:
    """Weights of one axis: output i is the sum of `weights[i, k]` · input `first[i] + k`.

    Attributes:
        first: (n,) int64, never decreasing.
        weights: (n, k) float32, rows that add up to 1; what lies beyond the input weighs 0.
        size: length of the input's axis.
    """

    first: Tensor
    weights: Tensor
    size: int

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """First input, and the one behind the last, that outputs `begin` up to `end` need."""
        last = int(self.first[end - 1]) + self.weights.shape[1]
        return int(self.first[begin]), min(last, self.size)


def taps(size: int, target: int, kind: Kind, antialias: bool = True) -> Taps:
    """Weights that bring an axis of `size` values to `target` values, both at least 1."""
    ratio = size / target
    stretch = max(ratio, 1.0) if antialias or kind == "area" else 1.0
    lobe, curve = _CURVES[kind]
    support = lobe * stretch
    centre = (torch.arange(target, dtype=torch.float64) + 0.5) * ratio
    first = (centre - support + 0.5).floor().long().clamp(0, size - 1)
    end = (centre + support + 0.5).floor().long().clamp(1, size)
    count = int((end - first).max())
    # Pixels of the input have their centres at halves.
    places = first[:, None] + torch.arange(count)
    weights = curve((places + 0.5 - centre[:, None]) / stretch)
    weights = torch.where(places < end[:, None], weights, 0.0)
    weights /= weights.sum(dim=1, keepdim=True)
    return Taps(first, weights.to(torch.float32), size)


def apply(x: Tensor, axis: int, plan: Taps, begin: int, end: int, offset: int = 0) -> Tensor:
    """Filter one axis.

    Args:
        x: (..., h, w) float tensor whose `axis` begins at input `offset` and holds all that is
            needed.
        axis: the last or the one before it.
        plan: its weights.
        begin: first output wanted.
        end: the one behind the last.
        offset: see `x`.
    """
    last = axis % x.dim() == x.dim() - 1
    parts: list[Tensor] = []
    # Small dense matrices along the band of weights: several times the work, and yet much less
    # time than gathering tap by tap.
    for first in range(begin, end, _BLOCK):
        stop = min(first + _BLOCK, end)
        low, high = plan.span(first, stop)
        count = plan.weights.shape[1]
        places = (plan.first[first:stop, None] - low + torch.arange(count)).clamp(
            max=high - low - 1
        )
        dense = torch.zeros(stop - first, high - low).scatter_add_(
            1, places, plan.weights[first:stop]
        )
        dense = dense.to(x.device, x.dtype)
        part = x.narrow(axis, low - offset, high - low)
        parts.append(part @ dense.T if last else dense @ part)
    return torch.cat(parts, dim=axis)


def resize(
    x: Tensor, height: int, width: int, kind: Kind = "bicubic", antialias: bool = True
) -> Tensor:
    """Resize a picture.

    Args:
        x: (..., h, w) float tensor.
        height: rows wanted, at least 1.
        width: columns wanted, at least 1.
        kind: the filter.
        antialias: widen the filter where it reduces.

    Returns:
        (..., height, width); filters with negative lobes can leave the range of `x`.
    """
    for axis, target in ((x.dim() - 1, width), (x.dim() - 2, height)):
        if x.shape[axis] != target:
            x = apply(x, axis, taps(x.shape[axis], target, kind, antialias), 0, target)
    return x


def torch_bicubic(x: Tensor, scale: int) -> Tensor:
    """(B, C, h, w) -> (B, C, h·scale, w·scale): PyTorch's cubic, a = -0.75."""
    return interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)


def _cubic(x: Tensor) -> Tensor:
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return torch.where(x < 1.0, near, torch.where(x < 2.0, far, 0.0))


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 3.0, torch.sinc(x) * torch.sinc(x / 3.0), 0.0)


def _box(x: Tensor) -> Tensor:
    """Share of an input pixel that lies under the output's."""
    return torch.where((x > -0.5) & (x <= 0.5), 1.0, 0.0).to(torch.float64)


_CURVES: dict[Kind, tuple[float, Callable[[Tensor], Tensor]]] = {
    "bicubic": (2.0, _cubic),
    "lanczos": (3.0, _lanczos),
    "area": (0.5, _box),
}


def fitted(height: int, width: int, factor: float, long_side: int | None) -> tuple[int, int]:
    """(height, width) of a picture made larger by a factor, or to a longer side; at least 1."""
    if long_side is not None:
        factor = long_side / max(height, width)
    return max(math.floor(height * factor + 0.5), 1), max(math.floor(width * factor + 0.5), 1)
