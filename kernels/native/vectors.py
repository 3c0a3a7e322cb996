"""A vector-quantized weight as `codebook.c` reads it, and the call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from kernels.native.weight import threads_for

MOST_BOOKS = 2
_WIDTHS = (4, 8, 16)


class _Vectors(ctypes.Structure):
    """`Vectors` of codebook.c."""

    _fields_ = (
        ("index", ctypes.c_void_p * MOST_BOOKS),
        ("book", ctypes.c_void_p * MOST_BOOKS),
        ("books", ctypes.c_int64),
        ("vectors", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("width", ctypes.c_int64),
    )


class NativeVectors:
    """A weight of `kernels.codebook` in the order of codebook.c.

    Args:
        library: of `kernels.native.load`.
        indices: one or two of (ceil(rows / v), in), any integer type, each 0 to k - 1.
        books: (k, v) each, any float type; see `fits`.
        rows: outputs.

    Attributes:
        indices: as given, in uint16.

    Raises:
        ValueError: an index is beyond its book.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        indices: Sequence[Tensor],
        books: Sequence[Tensor],
        rows: int,
    ) -> None:
        self._run = library.codebook_matmul
        length = books[0].shape[1]
        width = next(wide for wide in _WIDTHS if wide >= length)
        for index, book in zip(indices, books, strict=True):
            # In C there would be no telling.
            if index.numel() and (int(index.min()) < 0 or int(index.max()) >= len(book)):
                raise ValueError(f"An index is beyond the {len(book)} vectors of its book.")
        self.indices = [_sixteen_bits(index) for index in indices]
        self._books = [_padded(book, width) for book in books]
        self.rows, self.columns = rows, indices[0].shape[1]
        pointers = ctypes.c_void_p * MOST_BOOKS
        self._vectors = _Vectors(
            index=pointers(*(index.data_ptr() for index in self.indices)),
            book=pointers(*(book.data_ptr() for book in self._books)),
            books=len(books),
            vectors=indices[0].shape[0],
            rows=rows,
            columns=self.columns,
            length=length,
            width=width,
        )

    @property
    def nbytes(self) -> int:
        """Bytes that the weight takes in memory."""
        return sum(tensor.nbytes for tensor in (*self.indices, *self._books))

    def matmul(self, x: Tensor) -> Tensor:
        """(batch, in) float32 -> (batch, rows) float32, with as many threads as torch uses.

        Raises:
            ValueError: `x` has another shape or type, or is not in main memory.
        """
        if x.ndim != 2 or x.shape[1] != self.columns or x.dtype != torch.float32 or not x.is_cpu:
            raise ValueError(
                f"The native kernel takes float32 rows of {self.columns} in main memory, "
                f"not {tuple(x.shape)} {x.dtype} on {x.device}."
            )
        x = x.contiguous()
        y, room = x.new_empty((x.shape[0], self.rows)), torch.empty_like(x)
        self._run(
            ctypes.byref(self._vectors),
            x.data_ptr(),
            y.data_ptr(),
            room.data_ptr(),
            x.shape[0],
            threads_for(x.numel() * self.rows),
        )
        return y


def fits(books: Sequence[Tensor]) -> bool:
    """Whether codebook.c takes such books: one or two, of 65 536 vectors of 16 at most."""
    each = all(len(book) <= 1 << 16 and book.shape[1] <= _WIDTHS[-1] for book in books)
    return len(books) in range(1, MOST_BOOKS + 1) and each


def _sixteen_bits(index: Tensor) -> Tensor:
    """As uint16, by way of the signed type, which torch has all operations for."""
    wide = index.to(torch.int32)
    short = torch.where(wide >= 1 << 15, wide - (1 << 16), wide).to(torch.int16)
    return short.contiguous().view(torch.uint16)


def _padded(book: Tensor, width: int) -> Tensor:
    """(k, width) float32, zero behind the vectors."""
    more = width - book.shape[1]
    return torch.nn.functional.pad(book.to(torch.float32), (0, more)).contiguous()
