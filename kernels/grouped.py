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
    result = torch.empty((rows, columns), dtype=dtype, device=codes.device)
    step = tile_rows(codes, scale, dim)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        result[start:stop] = dequantize_rows(codes, scale, zero, start, stop, dim)
    return result


def dequantize_rows(
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | int,
    start: int,
    stop: int,
    dim: Dim = "in",
) -> Tensor:
    """The rows `start` to `stop` of `dequantize`, float32.

    For `dim` "out" both ends must lie between groups, as `tile_rows` has them.
    """
    group = group_size(codes, scale, dim)
    weight = codes[start:stop].to(torch.float32)
    if dim == "in":
        view = weight.view(stop - start, -1, group)
        part = slice(start, stop)
        shown = scale[part].unsqueeze(-1)
        moved = zero if isinstance(zero, int) else zero[part].unsqueeze(-1)
    else:
        view = weight.view(-1, group, weight.shape[1])
        part = slice(start // group, stop // group)
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
    result = x.new_empty((*x.shape[:-1], rows))
    step = tile_rows(codes, scale, dim)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        weight = dequantize_rows(codes, scale, zero, start, stop, dim)
        result[..., start:stop] = x @ weight.to(x.dtype).T
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
