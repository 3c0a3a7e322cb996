"""A weight of few bits as `lowbit.c` reads it, and the call."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from kernels import packing

CHUNK = 32
"""Columns that fill whole words whatever the bits; groups and rows are multiples of it."""

BITS = (2, 3, 4, 8)

_LONGEST_SUM = 256  # columns summed before the scale: longer groups are cut, for accuracy
_LEAST_SHARED = 1 << 19  # products below which a second thread costs more than it gives


class _Weight(ctypes.Structure):
    """`Weight` of lowbit.c."""

    _fields_ = (
        ("words", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("offset", ctypes.c_void_p),
        ("names", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("group", ctypes.c_int64),
        ("share", ctypes.c_int64),
        ("bits", ctypes.c_int32),
        ("wide", ctypes.c_int32),
    )


class NativeWeight:
    """A weight (out, in) in the order of lowbit.c, ready to be multiplied with.

    Args:
        library: it decides how many rows make a block.
        codes: (out, in) uint8.
        scale: (out, groups), any float type, with groups of whole words (see `fits`); None for 1.
        zero: (out, groups) uint8, or None for 2^(bits - 1).
        bits: 2, 3, 4 or 8.
        share: rows that are multiplied with one x, where there are several (see `matmul`); a
            multiple of `lanes(library)` that divides the rows.
        names: (16,) of what the codes stand for, in place of integers; then there is no `zero`, and
            `bits` is 4.

    Attributes:
        takes_bfloat16: whether `matmul` does, at twice the speed: integers of 4 bits on a processor
            with AVX-512 BF16.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        codes: Tensor,
        scale: Tensor | None,
        zero: Tensor | None,
        bits: int,
        share: int = 0,
        names: Tensor | None = None,
    ) -> None:
        self.rows, self.inputs = codes.shape
        self.columns = -(-self.inputs // CHUNK) * CHUNK
        self._run = library.lowbit_matmul
        self._run_short = library.lowbit_matmul_short
        block = lanes(library)
        middle = 1 << (bits - 1)
        padding = (0, self.columns - self.inputs, 0, -self.rows % block)
        codes = torch.nn.functional.pad(codes, padding, value=middle)
        self._words = _blocks(packing.pack_bits(codes, bits), block)
        groups = 1 if scale is None else scale.shape[1]
        # One sum over a whole row would lose digits; the same scale twice loses none.
        size = self.columns // groups
        if size > _LONGEST_SUM:
            size = next(part for part in (_LONGEST_SUM, 128, 64, CHUNK) if size % part == 0)
        times = self.columns // groups // size

        def in_blocks(values: Tensor) -> Tensor:
            values = torch.nn.functional.pad(values, (0, 0, 0, -self.rows % block))
            return _blocks(values.repeat_interleave(times, 1), block)

        self._scale = None if scale is None else in_blocks(_stored(scale))
        moved = None if zero is None else (zero.to(torch.int16) - middle).to(torch.int8)
        self._offset = None if moved is None else in_blocks(moved)
        self._names = None if names is None else names.to(torch.float32).contiguous()
        self._groups = groups * times
        self._shares = self.rows // share if share else 1
        self.takes_bfloat16 = bits == library.lowbit_short_bits() and names is None and not share
        self._weight = _Weight(
            words=self._words.data_ptr(),
            scale=None if self._scale is None else self._scale.data_ptr(),
            offset=None if self._offset is None else self._offset.data_ptr(),
            names=None if self._names is None else self._names.data_ptr(),
            rows=self.rows,
            columns=self.columns,
            group=size,
            share=share or self._words.shape[0] * block,
            bits=bits,
            wide=int(self._scale is not None and self._scale.dtype == torch.float32),
        )

    @property
    def nbytes(self) -> int:
        """Bytes that the weight takes in memory."""
        held = (self._words, self._scale, self._offset)
        return sum(tensor.nbytes for tensor in held if tensor is not None)

    def matmul(self, x: Tensor) -> Tensor:
        """Multiply, with as many threads as torch uses.

        Args:
            x: (batch, in) float32 in main memory, or bfloat16 where the weight takes that;
                (rows / share, batch, in) where the weight was made with `share`: the rows of each
                share take their own.

        Returns:
            (batch, out) float32.

        Raises:
            ValueError: `x` has another shape or type, or is not in main memory.
        """
        shares, (batch, inputs) = x.shape[:-2].numel(), x.shape[-2:]
        short = x.dtype == torch.bfloat16 and self.takes_bfloat16
        wrong = shares != self._shares or inputs != self.inputs
        if wrong or not (short or x.dtype == torch.float32) or not x.is_cpu:
            raise ValueError(
                f"The native kernel takes float32 rows of {self.inputs} in main memory, "
                f"not {tuple(x.shape)} {x.dtype} on {x.device}."
            )
        if self.columns != inputs:
            x = torch.nn.functional.pad(x, (0, self.columns - inputs))
        x = x.contiguous()
        y = torch.empty((batch, self.rows))
        room = torch.empty(batch * (shares * self.columns + self._groups))
        threads = threads_for(batch * self.rows * self.columns)
        run = self._run_short if short else self._run
        run(
            ctypes.byref(self._weight),
            x.data_ptr(),
            y.data_ptr(),
            room.data_ptr(),
            batch,
            threads,
        )
        return y


def threads_for(products: int) -> int:
    """As many threads as torch uses, or one where there is little to do."""
    return torch.get_num_threads() if products >= _LEAST_SHARED else 1


def lanes(library: ctypes.CDLL) -> int:
    """Rows of a block: 16 with AVX-512, 8 with AVX, else 4."""
    return library.lowbit_lanes()


def fits(codes: Tensor, scale: Tensor, bits: int, *, named: bool = False) -> bool:
    """Whether `NativeWeight` takes such a weight: groups of whole words, or one group a row.

    Args:
        codes: as `NativeWeight` takes them.
        scale: likewise.
        bits: likewise; those of codes with names are 4.
        named: whether the codes stand for something else than integers.
    """
    groups = scale.shape[1]
    whole = groups == 1 or codes.shape[1] // groups % CHUNK == 0
    return whole and (bits == 4 if named else bits in BITS)


def _blocks(values: Tensor, block: int) -> Tensor:
    """(rows, n) -> (rows / block, n, block)."""
    return values.view(-1, block, values.shape[1]).transpose(1, 2).contiguous()


def _stored(scale: Tensor) -> Tensor:
    """In float16 where that is exact, else in float32."""
    short = scale.to(torch.float16)
    return short if torch.equal(short.to(scale.dtype), scale) else scale.to(torch.float32)
