"""Group-wise integer weights: w = (code - zero) * scale, with one scale for every g weights.

Groups lie along the inputs of a row, as every checkpoint format has them, or along the outputs of
a column, as AdaDim chooses them where an input channel is an outlier (Heo et al., ICLR 2024).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Dim = Literal["in", "out"]

_TILE_WEIGHTS = 1 << 18  # 1 MiB of float32: a tile stays in the second-level cache


def dequantize(
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | int,
    dim: Dim = "in",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """(code - zero) * scale, computed in float32 tile by tile and rounded once to `dtype`.

    Args:
        codes: (out, in) uint8.
        scale: (out, in / g) for `dim` "in", (in, out / g) for "out"; any float type. The group size
            follows from the shapes; one group a row is (out, 1).
        zero: as `scale`, any integer or float type; or one number for all, which is 2^(bits - 1)
            for symmetric codes.
        dim: where the groups lie.
        dtype: float32, bfloat16 or float16.

    Returns:
        (out, in) of `dtype`.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    rows, columns = codes.shape
    group = group_size(codes, scale, dim)
    result = torch.empty((rows, columns), dtype=dtype, device=codes.device)
    step = tile_rows(codes, scale, dim)
    for start in range(0, rows, step):
        part = codes[start : start + step]
        result[start : start + step] = dequantize_tile(part, scale, zero, start, group, dim)
    return result


def dequantize_tile(
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | int,
    start: int,
    group: int,
    dim: Dim = "in",
) -> Tensor:
    """Some rows of `dequantize`.

    Args:
        codes: (r, in) uint8, of the rows `start` to `start` + r; for `dim` "out" both are multiples
            of the group.
        scale: of the whole weight.
        zero: of the whole weight.
        start: the first row.
        group: weights that share a scale.
        dim: where the groups lie.

    Returns:
        (r, in) float32.
    """
    weight = codes.to(torch.float32)
    if dim == "in":
        view = weight.unflatten(1, (-1, group))
        part = slice(start, start + codes.shape[0])
        shown = scale[part].unsqueeze(-1)
        moved = zero if isinstance(zero, int) else zero[part].unsqueeze(-1)
    else:
        view = weight.unflatten(0, (-1, group))
        part = slice(start // group, (start + codes.shape[0]) // group)
        shown = scale[:, part].T.unsqueeze(1)
        moved = zero if isinstance(zero, int) else zero[:, part].T.unsqueeze(1)
    view.sub_(moved).mul_(shown.to(torch.float32))
    return weight


def matmul(
    x: Tensor,
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | int,
    dim: Dim = "in",
) -> Tensor:
    """Multiply x W^T without ever holding W: a tile of rows is dequantized, multiplied and dropped.

    Args:
        x: (..., in), a float type; the weights are rounded to it.
        codes: (out, in) uint8.
        scale: as for `dequantize`.
        zero: as for `dequantize`.
        dim: as for `dequantize`.

    Returns:
        (..., out) of the type of `x`.
    """
    rows = codes.shape[0]
    group = group_size(codes, scale, dim)
    result = x.new_empty((*x.shape[:-1], rows))
    step = tile_rows(codes, scale, dim)
    for start in range(0, rows, step):
        weight = dequantize_tile(codes[start : start + step], scale, zero, start, group, dim)
        result[..., start : start + step] = x @ weight.to(x.dtype).T
    return result


def group_size(codes: Tensor, scale: Tensor, dim: Dim) -> int:
    """Weights that share a scale.

    Raises:
        ValueError: `scale` has another number of rows than `dim` needs, or its groups do not fill
            the weight.
    """
    rows, columns = codes.shape
    across, along = (rows, columns) if dim == "in" else (columns, rows)
    if scale.ndim != 2 or scale.shape[0] != across or along % max(scale.shape[1], 1):
        raise ValueError(
            f"Scales {tuple(scale.shape)} do not fit a weight {rows} x {columns} "
            f"grouped along its {dim}puts."
        )
    return along // scale.shape[1]


def tile_rows(codes: Tensor, scale: Tensor, dim: Dim) -> int:
    """Rows of a tile: some 2^18 weights, in whole groups where they lie along the outputs."""
    unit = 1 if dim == "in" else group_size(codes, scale, dim)
    return max(_TILE_WEIGHTS // (codes.shape[1] * unit), 1) * unit
