"""Triton: multiplying with a vector-quantized weight on a GPU, without the weight itself.

The layout is that of `kernels.codebook`, which is the reference.
"""

# A constant of a kernel is marked by a name that only Triton, where it is installed, gives a type.
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels.triton_here import blocks, jit, tl

_ROWS = 16
_OUTPUTS = 32
_INPUTS = 64


def matmul(x: Tensor, indices: Sequence[Tensor], books: Sequence[Tensor], rows: int) -> Tensor:
    """Multiply x W^T with W[r v + i, c] = sum over books of book[index[r, c], i].

    Args:
        x: (..., in) float32, bfloat16 or float16; the weights are rounded to it, sums are float32.
        indices: one or two of (ceil(rows / v), in) integers.
        books: (k, v) float32 each, the same v.
        rows: outputs.

    Returns:
        (..., rows) of the type of `x`.

    Raises:
        ValueError: there are more than two books.
    """
    if len(books) != len(indices) or len(books) not in (1, 2):
        raise ValueError(f"One book or two are looked up in, not {len(books)}.")
    inputs = x.shape[-1]
    flat = x.reshape(-1, inputs).contiguous()
    result = x.new_empty((flat.shape[0], rows))
    shown = [index.to(torch.int32).contiguous() for index in indices]
    grid = (blocks(flat.shape[0], _ROWS), blocks(rows, _OUTPUTS))
    _matmul[grid](
        flat,
        shown[0],
        books[0].contiguous(),
        shown[-1],
        books[-1].contiguous(),
        result,
        flat.shape[0],
        rows,
        inputs,
        books[0].shape[1],
        len(books) == 2,
        _ROWS,
        _OUTPUTS,
        _INPUTS,
    )
    return result.view(*x.shape[:-1], rows)


@jit
def _matmul(
    x,
    index,
    book,
    second_index,
    second_book,
    result,
    batch,
    rows,
    inputs,
    length,
    HAS_SECOND: tl.constexpr,
    ROWS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    INPUTS: tl.constexpr,
):
    m = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    n = (tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS))[None, :]
    vector, place = n // length, n % length
    total = tl.zeros((ROWS, OUTPUTS), dtype=tl.float32)
    for start in range(0, inputs, INPUTS):
        k = start + tl.arange(0, INPUTS)
        part = tl.load(
            x + m.to(tl.int64) * inputs + k[None, :],
            mask=(m < batch) & (k[None, :] < inputs),
            other=0.0,
        )
        inside = (n < rows) & (k[:, None] < inputs)
        at = vector * inputs + k[:, None]
        chosen = tl.load(index + at, mask=inside, other=0)
        value = tl.load(book + chosen * length + place, mask=inside, other=0.0)
        if HAS_SECOND:
            chosen = tl.load(second_index + at, mask=inside, other=0)
            value += tl.load(second_book + chosen * length + place, mask=inside, other=0.0)
        total = tl.dot(part, value.to(part.dtype), total, input_precision="ieee")
    inside = (m < batch) & (n < rows)
    tl.store(result + m.to(tl.int64) * rows + n, total, mask=inside)
