"""Rows and columns of a mosaic in the order in which planes are cut out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engines.base import UserError
from kernels.bayer import pack

_SWAPPED = (0, 2, 1, 3)  # of four rows or columns of a quad-Bayer cell


def is_cell(cell: Sequence[str]) -> bool:
    """Whether a cell of 6 x 6 begins with four greens that touch, and a fifth diagonally."""
    greens = {(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)}
    return all((cell[6 * y + x] == "G") == ((y % 3, x % 3) in greens) for y in range(6)
               for x in range(6))  # fmt: skip


def first(cfa: str, side: int, fits: Callable[[Sequence[str]], bool]) -> tuple[int, int]:
    """Rows and columns to put in front so that the cell begins as `fits` wants it."""
    for dy in range(side):
        for dx in range(side):
            cell = [
                cfa[(y - dy) % side * side + (x - dx) % side]
                for y in range(side)
                for x in range(side)
            ]
            if fits(cell):
                return dy, dx
    raise UserError(
        "This colour filter is laid out as in no known sensor; convert the file to linear DNG"
    )


def reflected(size: tuple[int, int], cfa: str) -> tuple[Tensor, Tensor]:
    """Rows and columns of a cell of two, as `kernels.bayer.pack` reflects them."""
    height, width = size
    rows = pack(torch.arange(height)[:, None].expand(height, 2), cfa)
    columns = pack(torch.arange(width)[None].expand(2, width), cfa)
    return (
        torch.stack([rows[0, :, 0], rows[2, :, 0]], dim=1).flatten(),
        torch.stack([columns[0, 0], columns[1, 0]], dim=1).flatten(),
    )


def swapped(size: int, front: int) -> Tensor:
    """Fours of rows, those in the middle exchanged; what is missing repeats a cell further in."""
    total = -(-(size + front) // 4) * 4
    index = torch.arange(total).reshape(-1, 4)[:, _SWAPPED].flatten() - front
    return _inside(index, size, 4)


def extended(size: int, front: int) -> Tensor:
    """Rows for cells of three, with a whole one before, as each also takes from its neighbours."""
    front = front % 3 + 3
    total = -(-(size + front) // 3) * 3 + 1
    return _inside(torch.arange(total) - front, size, 6)


def _inside(index: Tensor, size: int, period: int) -> Tensor:
    """Numbers outside the picture moved into it by whole cells."""
    index = torch.where(index < 0, index + period, index)
    beyond = torch.clamp(index - (size - 1), min=0)
    return index - torch.div(beyond + period - 1, period, rounding_mode="floor") * period


def places(order: Tensor, size: int) -> Tensor:
    """Where in `order` each number from 0 stands."""
    found = torch.empty(size, dtype=torch.int64)
    found[order.flip(0)] = torch.arange(len(order)).flip(0)  # the first of several
    return found
