"""A vector-quantized weight, prepared once and multiplied with many times.

Few rows go by codebook.c where it could be built; many rows, or any without it, by decoding a tile
of the weight, multiplying and dropping it. Both are the float32 product with the decoded weight but
for the order of the sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels import codebook, native
from kernels.native.vectors import NativeVectors, fits

_NATIVE_BATCH = 32  # beyond it, decoding once is faster


class VectorWeight:
    """A weight of `kernels.codebook` in main memory that multiplies.

    Args:
        indices: one (ceil(rows / v), in) a book, any integer type, each 0 to k - 1.
        books: (k, v) each, any float type, the same v.
        rows: outputs.

    Raises:
        ValueError: an index is beyond its book.
    """

    def __init__(self, indices: Sequence[Tensor], books: Sequence[Tensor], rows: int) -> None:
        self.shape = (rows, indices[0].shape[1])
        library = native.load() if fits(books) else None
        self.native: NativeVectors | None = None
        if library is not None:
            self.native = NativeVectors(library, indices, books, rows)
            indices = self.native.indices  # one copy of them is enough
        self._indices = list(indices)
        self._books = [book.to(torch.float32) for book in books]

    @property
    def nbytes(self) -> int:
        """Bytes that the weight takes in memory, every copy of a book counted."""
        books = sum(book.nbytes for book in self._books)
        if self.native is not None:
            return self.native.nbytes + books
        return books + sum(index.nbytes for index in self._indices)

    def matmul(self, x: Tensor) -> Tensor:
        """(..., in) of any float type -> (..., out) of the same; computed in float32."""
        wide = x.reshape(-1, self.shape[1]).to(torch.float32)
        if self.native is not None and len(wide) <= _NATIVE_BATCH:
            y = self.native.matmul(wide)
        else:
            y = codebook.matmul(wide, self._indices, self._books, self.shape[0])
        return y.to(x.dtype).view(*x.shape[:-1], self.shape[0])
