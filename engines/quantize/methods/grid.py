"""Rounding of weights in groups: which numbers a group can stand for, and the nearest of them.

Scales are rounded to float16 before any code is computed, so that a stored code is the nearest one
under the stored scale. Asymmetric ranges are widened to contain 0, as GPTQ does it: a zero point
between 0 and 2^bits - 1 cannot stand for a range that lies on one side of 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

from engines.quantize.block import Block
from engines.quantize.layers import Dim, Grid, Grouped, fitting_group

Search = Literal["minmax", "mse"]
"""The range of a group: all of it, or the part that leaves the least squared error."""

Steps = tuple[Tensor, Tensor | None]
"""Scale (...) float16 of every group, and zero point (...) uint8, None for symmetric grids."""

_LEAST_RANGE = 1e-5
_LEAST_SCALE = 2.0**-24  # the least float16 above 0
_SHRINKS = tuple(1 - 0.03 * step for step in range(21))
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
    weight: Tensor,
    grid: Grid,
    *,
    dim: Dim = "in",
    search: Search = "minmax",
    ceiling: Tensor | None = None,
    importance: Tensor | None = None,
) -> Grouped:
    """Every weight as the nearest number of its group's grid.

    Args:
        weight: (out, in) float.
        grid: how finely; the group that is used divides the weights along `dim`.
        dim: whether groups run along the inputs or along the outputs.
        search: how the range of a group is found.
        ceiling: largest absolute value in a group, of the shape of the scale; None for no limit.
        importance: (in,) what an error in each input counts for in "mse", such as mean x^2; for
            `dim` "out", where a group has one input, it makes no difference.
    """
    lines = weight if dim == "in" else weight.T
    size = group_of(lines.shape[1], grid)
    importance = importance if dim == "in" else None
    codes = torch.empty(lines.shape, dtype=torch.uint8, device=weight.device)
    scales: list[Tensor] = []
    zeros: list[Tensor] = []
    for part, rows in _tiles(lines, size):
        groups = _clamped(rows, None if ceiling is None else ceiling[part])
        scale, zero = steps(groups, grid, search, _by_group(importance, size))
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
    size = group_of(weight.shape[1], grid)
    made = torch.empty_like(weight)
    for part, groups in _tiles(weight, size):
        scale, zero = steps(groups, grid)
        made[part] = decode(encode(groups, scale, zero, grid.bits), scale, zero, grid.bits).flatten(
            1
        )
    return made


def steps(
    groups: Tensor, grid: Grid, search: Search = "minmax", importance: Tensor | None = None
) -> Steps:
    """Scale and zero point of groups.

    Symmetric grids that are searched may get a negative scale: with an even number of codes one
    side reaches further than the other, and the sign says which.

    Args:
        groups: (..., g) float32.
        grid: bits and symmetry; the size is that of `groups`.
        search: "minmax", or "mse" among ranges of 40 to 100 %.
        importance: (..., g) or less, weighs squared errors in "mse"; None for equal weights.
    """
    low, high = groups.amin(-1), groups.amax(-1)
    best = _steps_for(low, high, grid)
    if search == "minmax":
        return best
    least = torch.full_like(low, torch.inf)
    for shrink in _SHRINKS:
        for sign in (1.0, -1.0) if grid.symmetric else (1.0,):
            scale, zero = _steps_for(low * shrink, high * shrink, grid)
            scale = scale * sign
            error = decode(encode(groups, scale, zero, grid.bits), scale, zero, grid.bits)
            error = error.sub_(groups).square_()
            if importance is not None:
                error = error.mul_(importance)
            error = error.sum(-1)
            better = error < least
            least = torch.where(better, error, least)
            scale = torch.where(better, scale, best[0])
            if zero is not None and best[1] is not None:
                zero = torch.where(better, zero, best[1])
            best = scale, zero
    return best


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


def _by_group(importance: Tensor | None, size: int) -> Tensor | None:
    return None if importance is None else importance.unflatten(0, (-1, size))


def _clamped(groups: Tensor, ceiling: Tensor | None) -> Tensor:
    if ceiling is None:
        return groups
    limit = ceiling.unsqueeze(-1)
    return torch.minimum(torch.maximum(groups, -limit), limit)


def _tiles(lines: Tensor, size: int) -> Iterator[tuple[slice, Tensor]]:
    """Some rows at a time, so that what is made on the way stays small: (rows, n, g) float32."""
    step = max(1, _TILE_WEIGHTS // lines.shape[1])
    for start in range(0, lines.shape[0], step):
        part = slice(start, min(start + step, lines.shape[0]))
        yield part, lines[part].float().unflatten(1, (-1, size))
