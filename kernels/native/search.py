"""The nearest vectors of a book by `nearest.c`."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from kernels.native.weight import threads_for

_LONGEST = 8
_COUNT = 16  # vectors of a book come in multiples of this: lanes at most


class _Search(ctypes.Structure):
    """`Search` of nearest.c."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        ("book", ctypes.c_void_p),
        ("half", ctypes.c_void_p),
        ("found", ctypes.c_void_p),
        ("n", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("step", ctypes.c_int64),
    )


def fits(vectors: Tensor, book: Tensor) -> bool:
    """Whether nearest.c takes these: float32 in main memory, 8 entries at most, 16 n in a book."""
    kinds = vectors.dtype == book.dtype == torch.float32 and vectors.is_cpu and book.is_cpu
    return kinds and book.shape[1] <= _LONGEST and len(book) % _COUNT == 0 and len(book) > 0


def find(library: ctypes.CDLL, vectors: Tensor, book: Tensor, half: Tensor) -> Tensor:
    """(n,) int64: where half + vectors book^T is largest, the first where several are.

    Args:
        library: of `kernels.native.load`.
        vectors: (n, v) float32, such that `fits` says so.
        book: (k, v) float32.
        half: (k,) or (n, k) float32.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    count, length = book.shape
    if vectors.shape[1:] != (length,) or half.shape not in ((count,), (len(vectors), count)):
        raise ValueError(
            f"Vectors {tuple(vectors.shape)}, book {tuple(book.shape)} and half "
            f"{tuple(half.shape)} do not fit each other."
        )
    x, columns, half = vectors.contiguous(), book.T.contiguous(), half.contiguous()
    found = torch.empty(len(x), dtype=torch.int32)
    search = _Search(
        x=x.data_ptr(), book=columns.data_ptr(), half=half.data_ptr(), found=found.data_ptr(),
        n=len(x), length=length, count=count, step=0 if half.ndim == 1 else count,
    )  # fmt: skip
    library.nearest_find(ctypes.byref(search), threads_for(len(x) * count * length))
    return found.long()
