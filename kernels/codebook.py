"""Weights held as indices into tables: of single values (NF4, FP4) or of whole vectors (VPTQ).

A vector-quantized weight (Liu et al., VPTQ, EMNLP 2024) gives one index to v consecutive outputs of
one input column. Several books add up: the main one and that of the residual.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_TILE_WEIGHTS = 1 << 18  # 1 MiB of float32: a tile stays in the second-level cache


def lookup(codes: Tensor, table: Tensor) -> Tensor:
    """table[codes], without an int64 copy of all the codes.

    Args:
        codes: any shape, any integer type, 0 to n - 1.
        table: (n,), or (n, v) for vectors.

    Returns:
        The shape of `codes` (and v), of the table's type.
    """
    flat = codes.reshape(-1)
    result = table.new_empty((flat.numel(), *table.shape[1:]))
    for start in range(0, flat.numel(), _TILE_WEIGHTS):
        part = flat[start : start + _TILE_WEIGHTS].to(torch.int32)
        torch.index_select(table, 0, part, out=result[start : start + _TILE_WEIGHTS])
    return result.view(*codes.shape, *table.shape[1:])


def decode(indices: Sequence[Tensor], books: Sequence[Tensor], rows: int) -> Tensor:
    """The weight that vector indices stand for: W[r v + i, c] = sum over books of book[index, i].

    Args:
        indices: one (ceil(rows / v), in) a book, any integer type.
        books: (k, v) each, one float type, the same v.
        rows: outputs; what the last vectors hold beyond is cut.

    Returns:
        (rows, in) of the books' type.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    length = _vector_length(indices, books, rows)
    result = books[0].new_empty((rows, indices[0].shape[1]))
    for start, stop in _tiles(indices[0], length):
        end = min(stop * length, rows)
        result[start * length : end] = _rows(indices, books, start, stop)[: end - start * length]
    return result


def matmul(x: Tensor, indices: Sequence[Tensor], books: Sequence[Tensor], rows: int) -> Tensor:
    """Multiply x W^T for the weight of `decode`, of which only a tile of rows is ever held.

    Args:
        x: (..., in), a float type; the decoded weights are rounded to it.
        indices: as for `decode`.
        books: as for `decode`.
        rows: as for `decode`.

    Returns:
        (..., rows) of the type of `x`.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    length = _vector_length(indices, books, rows)
    result = x.new_empty((*x.shape[:-1], rows))
    for start, stop in _tiles(indices[0], length):
        weight = _rows(indices, books, start, stop)
        end = min(stop * length, rows)
        product = x @ weight[: end - start * length].to(x.dtype).T
        result[..., start * length : end] = product
    return result


def _vector_length(indices: Sequence[Tensor], books: Sequence[Tensor], rows: int) -> int:
    length = books[0].shape[-1]
    vectors = -(-rows // length)
    for index, book in zip(indices, books, strict=True):
        if book.ndim != 2 or book.shape[1] != length or index.shape != (vectors, index.shape[-1]):
            raise ValueError(
                f"Indices {tuple(index.shape)} and a book {tuple(book.shape)} do not make "
                f"{rows} outputs in vectors of {length}."
            )
    return length


def _tiles(index: Tensor, length: int) -> list[tuple[int, int]]:
    """First and last row of indices, such that a tile has some 2^18 weights."""
    step = max(_TILE_WEIGHTS // max(index.shape[1] * length, 1), 1)
    return [(at, min(at + step, index.shape[0])) for at in range(0, index.shape[0], step)]


def _rows(indices: Sequence[Tensor], books: Sequence[Tensor], start: int, stop: int) -> Tensor:
    """((stop - start) v, in): the vectors of some rows of indices, laid along the outputs."""
    total = lookup(indices[0][start:stop], books[0])
    for index, book in zip(indices[1:], books[1:], strict=True):
        total += lookup(index[start:stop], book)
    return total.transpose(1, 2).reshape(-1, total.shape[1])
