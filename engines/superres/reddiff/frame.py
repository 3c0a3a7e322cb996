"""Where a picture lies in what is optimised, and the tiles that a prior sees of that."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engines.superres.degrade.operator import Operator


@dataclass(frozen=True)
class Frame:
    """A picture that is at least a tile large and whose sides suit its measurement.

    What lies beyond the picture is mirrored. Lengths are pixels of the picture that is made.

    Attributes:
        size: height and width.
        before: rows and columns before the picture's first, so that blocks of its measurement
            begin where they do in the file that it was cut from.
        inner: height and width of the picture itself.
    """

    size: tuple[int, int]
    before: tuple[int, int]
    inner: tuple[int, int]

    @classmethod
    def around(
        cls, measured: tuple[int, int], origin: tuple[int, int], operator: Operator, tile: int
    ) -> Frame:
        """For a measurement of a (height, width) whose first pixel lies at `origin` of another."""
        step = operator.align
        before = tuple(begin * operator.scale % step for begin in origin)
        inner = tuple(side * operator.scale for side in measured)
        size = tuple(
            -(-max(one + side, tile) // step) * step
            for one, side in zip(before, inner, strict=True)
        )
        return cls((size[0], size[1]), (before[0], before[1]), (inner[0], inner[1]))


@dataclass(frozen=True)
class Span:
    """A tile along one axis: its first pixel, and the share that it has in each of its pixels."""

    begin: int
    weights: Tensor


def spans(size: int, tile: int, overlap: int, random: np.random.Generator) -> list[Span]:
    """Tiles along an axis, begun at a random place, whose weights add up to 1 in every pixel.

    Args:
        size: of the axis, at least `tile`.
        tile: side of all tiles.
        overlap: what neighbours share at least, 1 to tile - 1.
        random: chooses where the tiles between the first and the last begin.
    """
    begins = [0]
    if size > tile:
        stride = tile - overlap
        first = int(random.integers(1, stride + 1))
        begins += [*range(first, size - tile, stride), size - tile]
    ramp = torch.sin((torch.arange(overlap) + 0.5) / overlap * math.pi / 2).square()
    windows: list[Tensor] = []
    total = torch.zeros(size)
    for begin in begins:
        window = torch.ones(tile)
        if begin > 0:
            window[:overlap] *= ramp
        if begin + tile < size:
            window[-overlap:] *= ramp.flip(0)
        total[begin : begin + tile] += window
        windows.append(window)
    return [
        Span(begin, window / total[begin : begin + tile])
        for begin, window in zip(begins, windows, strict=True)
    ]
