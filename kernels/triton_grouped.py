"""Triton: group-wise low-bit weights on a GPU, dequantized or multiplied with as they are packed.

The codes are the dense stream of `kernels.packing.pack_bits`, (out, words). A code stands for
(code - zero) * scale, or with a `table` for table[code] * scale: that is FP4 and NF4.
`kernels.grouped` and `kernels.float_codes` are the reference.
"""

# A constant of a kernel is marked by a name that only Triton, where it is installed, gives a type.
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

import torch
from torch import Tensor

from kernels.triton_here import blocks, jit, tl

_ROWS = 16  # the least that a matrix product of a tensor core takes
_OUTPUTS = 32
_INPUTS = 64


def matmul(
    x: Tensor,
    words: Tensor,
    bits: int,
    scale: Tensor,
    zero: Tensor | None = None,
    table: Tensor | None = None,
) -> Tensor:
    """Multiply x W^T; the weight is decoded tile by tile in registers.

    Args:
        x: (..., in) float32, bfloat16 or float16; the weights are rounded to it, sums are float32.
        words: (out, ceil(in bits / 32)) int32.
        bits: 1 to 8.
        scale: (out, groups), any float type; the groups divide the inputs evenly.
        zero: (out, groups) uint8, or None for 2^(bits - 1).
        table: (2^bits,) float32 of what the codes stand for; then there is no `zero`.

    Returns:
        (..., out) of the type of `x`.
    """
    rows, inputs = words.shape[0], x.shape[-1]
    flat = x.reshape(-1, inputs).contiguous()
    result = x.new_empty((flat.shape[0], rows))
    grid = (blocks(flat.shape[0], _ROWS), blocks(rows, _OUTPUTS))
    _matmul[grid](
        flat,
        *_pointers(words, scale, zero, table),
        result,
        flat.shape[0],
        rows,
        inputs,
        words.shape[1],
        inputs // scale.shape[1],
        bits,
        zero is not None,
        table is not None,
        _ROWS,
        _OUTPUTS,
        _INPUTS,
    )
    return result.view(*x.shape[:-1], rows)


def dequantize(
    words: Tensor,
    inputs: int,
    bits: int,
    scale: Tensor,
    zero: Tensor | None = None,
    table: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The weight itself, (out, in) of `dtype`; the arguments are those of `matmul`."""
    rows = words.shape[0]
    result = torch.empty((rows, inputs), dtype=dtype, device=words.device)
    grid = (blocks(rows, _OUTPUTS), blocks(inputs, _INPUTS))
    _dequantize[grid](
        *_pointers(words, scale, zero, table),
        result,
        rows,
        inputs,
        words.shape[1],
        inputs // scale.shape[1],
        bits,
        zero is not None,
        table is not None,
        _OUTPUTS,
        _INPUTS,
    )
    return result


def _pointers(
    words: Tensor, scale: Tensor, zero: Tensor | None, table: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a kernel reads; where there is no zero or table, something that it does not look at."""
    scale = scale.contiguous()
    shown = scale if zero is None else zero.contiguous()
    return words.contiguous(), scale, shown, scale if table is None else table


@jit
def _weights(
    words,
    scale,
    zero,
    table,
    n,
    k,
    inside,
    row_words,
    groups,
    group,
    BITS: tl.constexpr,
    HAS_ZERO: tl.constexpr,
    HAS_TABLE: tl.constexpr,
):
    """The weights at outputs `n` and inputs `k` (which broadcast), float32; zero outside."""
    bit = k * BITS
    shift = bit % 32
    at = words + n * row_words + bit // 32
    code = tl.load(at, mask=inside, other=0).to(tl.uint32) >> shift.to(tl.uint32)
    if 32 % BITS != 0:
        across = inside & (shift + BITS > 32)
        rest = tl.load(at + 1, mask=across, other=0).to(tl.uint32)
        # A shift by 32 is undefined; it is only asked for where nothing lies across.
        code = code | (rest << ((32 - shift) % 32).to(tl.uint32))
    code = (code & ((1 << BITS) - 1)).to(tl.int32)
    place = n * groups + k // group
    if HAS_TABLE:
        value = tl.load(table + code)
    else:
        value = code.to(tl.float32)
        if HAS_ZERO:
            value = value - tl.load(zero + place, mask=inside, other=0).to(tl.float32)
        else:
            value = value - (1 << (BITS - 1))
    return value * tl.load(scale + place, mask=inside, other=0).to(tl.float32)


@jit
def _dequantize(
    words,
    scale,
    zero,
    table,
    result,
    rows,
    inputs,
    row_words,
    group,
    BITS: tl.constexpr,
    HAS_ZERO: tl.constexpr,
    HAS_TABLE: tl.constexpr,
    OUTPUTS: tl.constexpr,
    INPUTS: tl.constexpr,
):
    n = (tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS))[:, None]
    k = (tl.program_id(1) * INPUTS + tl.arange(0, INPUTS))[None, :]
    inside = (n < rows) & (k < inputs)
    value = _weights(
        words,
        scale,
        zero,
        table,
        n,
        k,
        inside,
        row_words,
        inputs // group,
        group,
        BITS,
        HAS_ZERO,
        HAS_TABLE,
    )
    tl.store(result + n.to(tl.int64) * inputs + k, value, mask=inside)


@jit
def _matmul(
    x,
    words,
    scale,
    zero,
    table,
    result,
    batch,
    rows,
    inputs,
    row_words,
    group,
    BITS: tl.constexpr,
    HAS_ZERO: tl.constexpr,
    HAS_TABLE: tl.constexpr,
    ROWS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    INPUTS: tl.constexpr,
):
    m = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    n = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    total = tl.zeros((ROWS, OUTPUTS), dtype=tl.float32)
    for start in range(0, inputs, INPUTS):
        k = start + tl.arange(0, INPUTS)
        part = tl.load(
            x + m.to(tl.int64) * inputs + k[None, :],
            mask=(m < batch) & (k[None, :] < inputs),
            other=0.0,
        )
        value = _weights(
            words,
            scale,
            zero,
            table,
            n[None, :],
            k[:, None],
            (n[None, :] < rows) & (k[:, None] < inputs),
            row_words,
            inputs // group,
            group,
            BITS,
            HAS_ZERO,
            HAS_TABLE,
        )
        total = tl.dot(part, value.to(part.dtype), total, input_precision="ieee")
    inside = (m < batch) & (n[None, :] < rows)
    tl.store(result + m.to(tl.int64) * rows + n[None, :], total, mask=inside)
