"""JPEG as an operator: transform, rounding to the tables' steps, and back (ITU-T T.81).

Rounding has no gradient of its own, so the gradient goes straight through it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d

from engines.superres.degrade.operator import Operator

Table = tuple[int, ...]  # 64 steps, row by row

# Annex K, tables K.1 and K.2: steps at quality 50.
_LUMA: Table = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA: Table = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)  # fmt: skip
# JFIF's conversion, for values in 0..1 with chroma about 0.
_YCC = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)


def tables(quality: int) -> tuple[Table, Table]:
    """Steps of luma and chroma at a quality from 1 to 100, as libjpeg scales them."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality

    def scaled(table: Table) -> Table:
        return tuple(min(max((step * percent + 50) // 100, 1), 255) for step in table)

    return scaled(_LUMA), scaled(_CHROMA)


def quality_of(table: Table) -> int:
    """The quality whose luma table is nearest to one that was found in a file."""

    def distance(quality: int) -> int:
        return sum(abs(a - b) for a, b in zip(tables(quality)[0], table, strict=True))

    return min(range(1, 101), key=distance)


class Jpeg(Operator):
    """A picture that went through JPEG, without the rounding to bytes at either end."""

    def __init__(self, quality: int, halved: bool = True) -> None:
        """`quality` is 1 to 100; `halved` stores colour at half the size (4:2:0)."""
        self._halved = halved
        self.align = 16 if halved else 8
        luma, chroma = (torch.tensor(t, dtype=torch.float32) / 255.0 for t in tables(quality))
        self._luma, self._chroma = luma.reshape(1, 64, 1, 1), chroma.reshape(1, 64, 1, 1)
        self._basis = _basis()
        self._ycc = torch.tensor(_YCC)

    def measure(self, pictures: Tensor) -> Tensor:
        """See `Operator`; sides are multiples of `align`."""
        ycc = torch.einsum("kc,bchw->bkhw", self._ycc.to(pictures), pictures)
        luma = self._rounded(ycc[:, :1] - 128.0 / 255.0, self._luma) + 128.0 / 255.0
        chroma = avg_pool2d(ycc[:, 1:], 2) if self._halved else ycc[:, 1:]
        chroma = self._rounded(chroma, self._chroma)
        if self._halved:
            chroma = chroma.repeat_interleave(2, -2).repeat_interleave(2, -1)
        back = torch.linalg.inv(self._ycc.double()).to(pictures)
        return torch.einsum("kc,bchw->bkhw", back, torch.cat([luma, chroma], dim=1))

    def invert(self, measured: Tensor) -> Tensor:
        """See `Operator`."""
        return measured

    def _rounded(self, planes: Tensor, steps: Tensor) -> Tensor:
        """(B, C, H, W) -> the same with the coefficients of each 8 x 8 block rounded."""
        shape, basis, steps = planes.shape, self._basis.to(planes), steps.to(planes)
        one = planes.reshape(-1, 1, *shape[-2:])
        found = conv2d(one, basis, stride=8) / steps
        found = found + (found.round() - found).detach()
        return conv_transpose2d(found * steps, basis, stride=8).reshape(shape)


def _basis() -> Tensor:
    """(64, 1, 8, 8) orthonormal cosines of the transform, row by row of their frequencies."""
    n = torch.arange(8, dtype=torch.float64)
    rows = torch.cos((2.0 * n + 1.0) * n[:, None] * math.pi / 16.0) * 0.5
    rows[0] *= math.sqrt(0.5)
    return torch.einsum("ui,vj->uvij", rows, rows).reshape(64, 1, 8, 8).float()
