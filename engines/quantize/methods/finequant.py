"""FineQuant: groups as fine as they pay, matrix by matrix, from the weights alone.

Kim et al., "FineQuant: Unlocking Efficiency with Fine-Grained Weight-Only Quantization for LLMs"
(2023), section 3.3: start from one scale for all of an output's weights and halve the group as long
as that makes the ranges shrink.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log2
from typing import ClassVar

from torch import Tensor

from engines.quantize.block import Block
from engines.quantize.layers import Grid, QuantizedLayer, fitting_group
from engines.quantize.method import NoGradients, Uses
from engines.quantize.methods.grid import round_weight

_FINEST = 64  # what kernels with groups take


@dataclass(frozen=True)
class FineQuant(NoGradients):
    """The group size of the plan is the finest one; 64 where the plan has whole rows.

    Attributes:
        alpha: share by which halving the group has to shrink the mean range to be worth it.
        catastrophe: largest absolute value of a row over its root mean square, above which one
            scale leaves nothing of the rest, so that the finest groups are taken at once.
    """

    name: ClassVar[str] = "finequant"
    uses: ClassVar[Uses] = "weights"

    alpha: float = 0.05
    catastrophe: float = 12.0

    def quantize(self, block: Block, grids: Mapping[str, Grid]) -> dict[str, QuantizedLayer]:
        """See `engines.quantize.method.Method`."""
        made: dict[str, QuantizedLayer] = {}
        for path, grid in grids.items():
            block.check()
            weight = block.weight(path)
            size = self.group_for(weight, grid.group_size or _FINEST)
            made[path] = round_weight(weight, replace(grid, group_size=size))
        return made

    def group_for(self, weight: Tensor, finest: int) -> int:
        """The group size for a weight (out, in), not below `finest` unless no such one divides."""
        columns = weight.shape[1]
        least = fitting_group(columns, finest)
        spread = weight.abs().amax(1) / weight.square().mean(1).sqrt().clamp_min(1e-12)
        if float(spread.max()) > self.catastrophe:
            return least
        size, mean_range = columns, _mean_range(weight, columns)
        while size > least:
            finer = _finer(columns, size, least)
            smaller = _mean_range(weight, finer)
            # Where half the group does not divide the row, the step is longer: shrinkage a halving.
            shrunk = 1 - (smaller / max(mean_range, 1e-12)) ** (1 / log2(size / finer))
            if shrunk <= self.alpha:
                break
            size, mean_range = finer, smaller
        return size


def _mean_range(weight: Tensor, size: int) -> float:
    return float(weight.abs().unflatten(1, (-1, size)).amax(-1).mean())


def _finer(columns: int, size: int, least: int) -> int:
    """The largest multiple of `least` that divides `columns` and is at most half of `size`."""
    return max(
        (one for one in range(least, size // 2 + 1, least) if columns % one == 0), default=least
    )
