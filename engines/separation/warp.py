"""Linear frequency <-> the logarithmic frequency on which CLIPSep's networks look at a sound.

Rows v in [-1, 1] of the warped spectrogram lie at (21^((v + 1) / 2) - 11) / 10 of the linear one,
so that low frequencies get more rows than they have bins and high ones fewer.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

ROWS = 256
_BASE = 21.0


def warp(maps: Tensor, rows: int = ROWS) -> Tensor:
    """(..., F, T) on linear frequency -> (..., rows, T), interpolated between two bins."""
    return _apply(_table(maps.shape[-2], rows, "point"), maps)


def pool(maps: Tensor, rows: int = ROWS) -> Tensor:
    """As `warp`, but where a row stands for several bins it is their weighted mean.

    For networks of our own: nothing between two rows of high frequency is overlooked.
    """
    return _apply(_table(maps.shape[-2], rows, "area"), maps)


def unwarp(maps: Tensor, bins: int) -> Tensor:
    """(..., rows, T) on logarithmic frequency -> (..., bins, T) on linear frequency."""
    return _apply(_table(maps.shape[-2], bins, "back"), maps)


def _apply(table: Tensor, maps: Tensor) -> Tensor:
    return table.to(maps.device, maps.dtype) @ maps


@lru_cache(maxsize=16)
def _table(source: int, target: int, kind: str) -> Tensor:
    """(target, source) weights in float32; each row adds up to 1."""
    v = torch.linspace(-1.0, 1.0, target, dtype=torch.float64)
    if kind == "back":
        place = torch.log(10.0 * v + 11.0) / torch.log(torch.tensor(_BASE).double()) * 2.0 - 1.0
    else:
        place = (_BASE ** ((v + 1.0) / 2.0) - 11.0) / 10.0
    # Rounded as the authors' grid is, which moves the logarithm of quiet rows by 1e-5.
    place = ((place.float() + 1.0) / 2.0 * (source - 1)).clamp(0.0, source - 1).double()
    bins = torch.arange(source, dtype=torch.float64)
    width = torch.ones_like(place)
    if kind == "area":
        width = torch.gradient(place)[0].clamp(min=1.0)
    weights = (1.0 - (bins[None] - place[:, None]).abs() / width[:, None]).clamp(min=0.0)
    return (weights / weights.sum(dim=1, keepdim=True)).float()
