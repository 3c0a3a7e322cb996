"""A Bayer mosaic as four half-size planes in one canonical order, and back.

Planes are R, G (beside R), G (beside B), B: the sites (0,0), (0,1), (1,0), (1,1) of an RGGB cell.
Mosaics of another phase are brought to it by one reflected row or column in front rather than by
exchanging planes: the planes' places against each other are then the same for every camera, which
is what lets one network serve them all. Reflection about the first pixel keeps the colour phase.
"""

from __future__ import annotations

import torch
from torch import Tensor

PHASES: dict[str, tuple[int, int]] = {
    "RGGB": (0, 0),
    "GRBG": (0, 1),
    "GBRG": (1, 0),
    "BGGR": (1, 1),
}
"""Rows and columns to put in front, by the colours of the mosaic's first two rows."""


def site_order(cfa: str) -> tuple[int, int, int, int]:
    """For each canonical plane, the index (0 to 3, row by row) of its site in the mosaic's cell."""
    dy, dx = PHASES[cfa]
    return tuple(((y + dy) % 2) * 2 + (x + dx) % 2 for y in (0, 1) for x in (0, 1))  # type: ignore[return-value]


def _reflected(size: int, front: int) -> Tensor:
    """Row (or column) numbers of the padded mosaic: `front` reflected ones, even in number."""
    total = size + front
    index = torch.arange(-front, size + total % 2)
    if size == 1:
        return torch.zeros_like(index)
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


def pack(mosaic: Tensor, cfa: str) -> Tensor:
    """(H, W) -> (4, ceil((H + dy) / 2), ceil((W + dx) / 2)) of the same type.

    Raises:
        KeyError: `cfa` is not one of `PHASES`.
    """
    dy, dx = PHASES[cfa]
    height, width = mosaic.shape
    if dy or height % 2:
        mosaic = mosaic[_reflected(height, dy).to(mosaic.device)]
    if dx or width % 2:
        mosaic = mosaic[:, _reflected(width, dx).to(mosaic.device)]
    return torch.stack([mosaic[y::2, x::2] for y in (0, 1) for x in (0, 1)])


def unpack(planes: Tensor, cfa: str, height: int, width: int) -> Tensor:
    """(4, h, w) -> (height, width): the inverse of `pack`, without the reflected pixels."""
    dy, dx = PHASES[cfa]
    full = torch.empty(
        (planes.shape[1] * 2, planes.shape[2] * 2), dtype=planes.dtype, device=planes.device
    )
    for plane, (y, x) in zip(planes, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        full[y::2, x::2] = plane
    return full[dy : dy + height, dx : dx + width]
