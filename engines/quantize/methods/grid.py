"""Rounding of weights in groups: which numbers a group can stand for, and the nearest of them.

Scales are rounded to float16 before any code is computed, so that a stored code is the nearest one
under the stored scale. Asymmetric ranges are widened to contain 0, as GPTQ does it: a zero point
between 0 and 2^bits - 1 cannot stand for a range that lies on one side of 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

from engines.quantize.block import Block
from engines.quantize.layers import Dim, Grid, Grouped, fitting_group

Search = Literal["minmax", "mse"]
"""The range of a group: all of it, or the part that leaves the least squared error."""

Cost = Callable[[Tensor], Tensor]
"""Changes of weights (rows, n, g) float32, which it may write over -> their cost (rows, n)."""

Steps = tuple[Tensor, Tensor | None]
"""Scale (...) float16 of every group, and zero point (...) uint8, None for symmetric grids."""

_LEAST_RANGE = 1e-5
_LEAST_SCALE = 2.0**-24  # the least float16 above 0
_SHARES = tuple(1 - 0.05 * step for step in range(13))
_TILE_WEIGHTS = 1 << 22


def group_of(length: int, grid: Grid) -> int:
    """Weights of a group where `length` weights lie along its direction."""
    return fitting_group(length, grid.group_size)


def note_groups(block: Block, grids: Mapping[str, Grid]) -> None:
    """Say where the groups asked for do not fill the rows."""
    for path, grid in grids.items():
        columns = block.weight(path).shape[1]
        size = group_of(columns, grid)
        if grid.group_size not in (0, size):
            block.note(
                f"Groups of {grid.group_size} do not fill rows of {columns} weights; "
                f"groups of {size} are used there"
            )


def round_weight(
    weight: Tensor, grid: Grid, *, dim: Dim = "in", cost: Cost | None = None
) -> Grouped:
    """Every weight as the nearest number of its group's grid.

    Args:
        weight: (out, in) float.
        grid: how finely; the group that is used divides the weights along `dim`.
        dim: whether groups run along the inputs or along the outputs.
        cost: what the ranges of groups are searched by; None for all of every range.
    """
    lines = weight if dim == "in" else weight.T
    size = group_of(lines.shape[1], grid)
    codes = torch.empty(lines.shape, dtype=torch.uint8, device=weight.device)
    scales: list[Tensor] = []
    zeros: list[Tensor] = []
    for part, groups in tiles(lines, size):
        scale, zero = steps(groups, grid, cost)
        codes[part] = encode(groups, scale, zero, grid.bits).flatten(1).to(torch.uint8)
        scales.append(scale)
        if zero is not None:
            zeros.append(zero)
    return Grouped(
        codes if dim == "in" else codes.T.contiguous(),
        torch.cat(scales),
        torch.cat(zeros) if zeros else None,
        grid.bits,
        size,
        dim,
    )


def rounded(weight: Tensor, grid: Grid) -> Tensor:
    """What `round_weight` with groups along the inputs and plain ranges stands for, only faster.

    Args:
        weight: (out, in) float32.
        grid: how finely.

    Returns:
        (out, in) float32, a new tensor.
    """
    made = torch.empty_like(weight)
    for part, groups in tiles(weight, group_of(weight.shape[1], grid)):
        scale, zero = steps(groups, grid)
        codes = encode(groups, scale, zero, grid.bits)
        made[part] = decode(codes, scale, zero, grid.bits).flatten(1)
    return made


def steps(groups: Tensor, grid: Grid, cost: Cost | None = None) -> Steps:
    """Scale and zero point of groups.

    Searched ranges are cut to between 100 and 40 % of the largest absolute value, as AWQ clips
    them. Symmetric grids may get a negative scale there: with an even number of codes one side
    reaches further than the other, and the sign says which.

    Args:
        groups: (..., g) float32.
        grid: bits and symmetry; the size is that of `groups`.
        cost: what is least for the range chosen; None for the whole range.
    """
    low, high = groups.amin(-1), groups.amax(-1)
    best = _steps_for(low, high, grid)
    if cost is None:
        return best
    reach = torch.maximum(low.abs(), high.abs())
    least = torch.full_like(low, torch.inf)
    for share in _SHARES:
        limit = reach * share
        scale, zero = _steps_for(torch.maximum(low, -limit), torch.minimum(high, limit), grid)
        for sign in (1.0, -1.0) if grid.symmetric else (1.0,):
            signed = scale * sign
            made = decode(encode(groups, signed, zero, grid.bits), signed, zero, grid.bits)
            error = cost(made.sub_(groups))
            better = error < least
            least = torch.where(better, error, least)
            old_scale, old_zero = best
            best = (
                torch.where(better, signed, old_scale),
                None if zero is None or old_zero is None else torch.where(better, zero, old_zero),
            )
    return best


def cost_of(search: Search) -> Cost | None:
    """What `steps` is to be given where all weights count the same."""
    return squared if search == "mse" else None


def squared(change: Tensor) -> Tensor:
    """The cost of changes (..., g) that all count the same."""
    return change.square_().sum(-1)


def weighed(importance: Tensor, size: int) -> Cost:
    """A cost in which inputs count differently, such as by their mean square.

    Args:
        importance: (in,) float32.
        size: weights of a group; groups run along the inputs.
    """
    by_group = importance.unflatten(0, (-1, size))
    return lambda change: change.square_().mul_(by_group).sum(-1)


def correlated(gram: Tensor) -> Cost:
    """A cost that is the squared error of each group's share of the output.

    Args:
        gram: (in / g, g, g) float32, mean of x x^T over tokens for the inputs of every group.
    """

    def cost(change: Tensor) -> Tensor:
        by_group = change.transpose(0, 1)  # (n, rows, g)
        return (by_group @ gram).mul_(by_group).sum(-1).T

    return cost


def encode(groups: Tensor, scale: Tensor, zero: Tensor | None, bits: int) -> Tensor:
    """Nearest codes of groups (..., g), as float32 whole numbers from 0 to 2^bits - 1."""
    codes = (groups / scale.float().unsqueeze(-1)).round_()
    return codes.add_(_middle(zero, bits)).clamp_(0, 2**bits - 1)


def decode(codes: Tensor, scale: Tensor, zero: Tensor | None, bits: int) -> Tensor:
    """(codes - zero) * scale, written over `codes` (..., g) float32."""
    return codes.sub_(_middle(zero, bits)).mul_(scale.float().unsqueeze(-1))


def _middle(zero: Tensor | None, bits: int) -> Tensor | int:
    return 2 ** (bits - 1) if zero is None else zero.float().unsqueeze(-1)


def _steps_for(low: Tensor, high: Tensor, grid: Grid) -> Steps:
    if grid.symmetric:
        reach = torch.maximum(low.abs(), high.abs()).clamp_min(_LEAST_RANGE)
        return _stored(reach / (2 ** (grid.bits - 1) - 1)), None
    low, high = low.clamp_max(0), high.clamp_min(0)
    levels = 2**grid.bits - 1
    scale = _stored((high - low).clamp_min(_LEAST_RANGE) / levels)
    zero = (-low / scale.float()).round_().clamp_(0, levels)
    return scale, zero.to(torch.uint8)


def _stored(scale: Tensor) -> Tensor:
    return scale.clamp(_LEAST_SCALE, torch.finfo(torch.float16).max).half()


def tiles(lines: Tensor, size: int) -> Iterator[tuple[slice, Tensor]]:
    """Some rows at a time, so that what is made on the way stays small: (rows, n, g) float32."""
    step = max(1, _TILE_WEIGHTS // lines.shape[1])
    for start in range(0, lines.shape[0], step):
        part = slice(start, min(start + step, lines.shape[0]))
        yield part, lines[part].float().unflatten(1, (-1, size))
