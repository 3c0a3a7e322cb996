"""GPTQ: columns are rounded one by one, and those still to come make up for each one's error.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
(ICLR 2023), algorithm 1, with the authors' later `act_order` and `static_groups`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from engines.quantize.block import Block
from engines.quantize.layers import Dim, Grid, Grouped, QuantizedLayer
from engines.quantize.method import NoGradients, Uses
from engines.quantize.methods.curvature import Curvature, curvatures
from engines.quantize.methods.grid import (
    Search,
    cost_of,
    decode,
    encode,
    group_of,
    note_groups,
    round_weight,
    weighed,
)

RoundColumn = Callable[[int, Tensor], Tensor]
"""(number of the column in the weight, (out,) float32 as it is now) -> (out,) what it becomes."""

_WIDTH = 128  # columns between two updates of all that come after


def gptq(
    weight: Tensor,
    curvature: Curvature,
    round_column: RoundColumn,
    check: Callable[[], None] = lambda: None,
) -> Tensor:
    """Round the columns of a weight in the order of `curvature`.

    Args:
        weight: (out, in) float32; not changed.
        curvature: of the layer's input, from `factor`.
        round_column: rounds one column; may keep codes for itself, and its argument is the only
            place where the column is seen with the errors of all earlier ones pushed into it.
        check: called every 128 columns.

    Returns:
        (out, in) float32, what `round_column` returned, in the weight's own order of columns.
    """
    # Transposed, so that a column is contiguous.
    left = weight.T[curvature.order].contiguous()
    made = torch.empty_like(left)
    errors = left.new_empty(_WIDTH, left.shape[1])
    order = curvature.order.tolist()
    for start in range(0, len(order), _WIDTH):
        check()
        stop = min(start + _WIDTH, len(order))
        inside = curvature.upper[start:stop, start:stop]
        diagonal = inside.diagonal().tolist()
        for row in range(stop - start):
            place = start + row
            # What the block's earlier columns owe this one, gathered only now.
            column = torch.addmv(left[place], errors[:row].T, inside[:row, row], alpha=-1)
            made[place] = round_column(order[place], column)
            torch.sub(column, made[place], out=errors[row]).div_(diagonal[row])
        if stop < len(order):
            later = curvature.upper[start:stop, stop:]
            left[stop:].addmm_(later.T, errors[: stop - start], alpha=-1)
    result = torch.empty_like(made)
    result[curvature.order] = made
    return result.T.contiguous()


def gptq_grouped(
    weight: Tensor,
    curvature: Curvature,
    grid: Grid,
    *,
    dim: Dim = "in",
    search: Search = "minmax",
    check: Callable[[], None] = lambda: None,
) -> Grouped:
    """GPTQ on group-wise integer grids.

    Groups have the scales of the weight as it comes ("static groups"), so that the order of columns
    does not matter to what is stored. Along the outputs, where a group lies within one column, the
    published AdaDim takes the scales of that column as it has become; with searched ranges that
    gains some 5 % of the error (SmolLM2-135M, 3 bits) and takes ten times as long.

    Args:
        weight: (out, in) float32; not changed.
        curvature: of the layer's input.
        grid: how finely.
        dim: where groups run.
        search: how ranges are found; "mse" weighs errors by the curvature's diagonal.
        check: called every 128 columns.
    """
    cost = cost_of(search)
    if cost is not None and dim == "in":
        cost = weighed(curvature.diagonal, group_of(weight.shape[1], grid))
    lines = round_weight(weight, grid, dim=dim, cost=cost)
    size, scale = lines.group_size, lines.scale.float()
    zero = None if lines.zero is None else lines.zero.float()
    codes = torch.empty(weight.shape[1], weight.shape[0], dtype=torch.uint8, device=weight.device)

    def round_column(number: int, column: Tensor) -> Tensor:
        if dim == "in":
            place, groups = (slice(None), number // size), column.unsqueeze(-1)
        else:
            place, groups = (number,), column.view(-1, size)
        own_zero = None if zero is None else zero[place]
        made = encode(groups, scale[place], own_zero, grid.bits)
        codes[number] = made.flatten()
        return decode(made, scale[place], own_zero, grid.bits).flatten()

    gptq(weight, curvature, round_column, check)
    return replace(lines, codes=codes.T.contiguous())


@dataclass(frozen=True)
class Gptq(NoGradients):
    """Second-order rounding of a block's layers.

    Attributes:
        damping: share of the mean of the Hessian's diagonal that is added to it.
        act_order: columns whose inputs are largest first; groups stay contiguous all the same.
        sequential: Hessians of a part see the parts before it in the block already rounded; takes
            a run through the block for every part instead of one for all.
        search: range of a group: all of it, or what leaves the least error weighed by the
            Hessian's diagonal.
    """

    name: ClassVar[str] = "gptq"
    uses: ClassVar[Uses] = "activations"

    damping: float = 0.01
    act_order: bool = True
    sequential: bool = False
    search: Search = "mse"

    def quantize(self, block: Block, grids: Mapping[str, Grid]) -> dict[str, QuantizedLayer]:
        """See `engines.quantize.method.Method`."""
        note_groups(block, grids)
        with block.restored(grids if self.sequential else ()):
            return self._rounded(block, grids)

    def _rounded(self, block: Block, grids: Mapping[str, Grid]) -> dict[str, QuantizedLayer]:
        made: dict[str, QuantizedLayer] = {}
        for path, curvature in curvatures(
            block,
            list(grids),
            damping=self.damping,
            act_order=self.act_order,
            sequential=self.sequential,
        ):
            block.progress(len(made) / len(grids), path)
            weight = block.weight(path)
            if curvature is None:
                cost = cost_of(self.search)
                layer = round_weight(weight, grids[path], cost=cost)
            else:
                layer = gptq_grouped(
                    weight, curvature, grids[path], search=self.search, check=block.check
                )
            if self.sequential:
                weight.copy_(layer.dequantize())
            made[path] = layer
        return made
