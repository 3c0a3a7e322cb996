"""A weight of few bits, prepared once and multiplied with many times.

`prepare` keeps the weight packed and picks the ways to multiply by what the machine has:

- `native`: lowbit.c, where it could be built; 2, 3, 4 and 8 bits, any batch.
- `int4pack`: torch's own 4-bit kernel, for few rows of bfloat16 where there is no native kernel. It
  rounds the weights to bfloat16.
- `triton`: a kernel for few rows, where the weight is on a GPU and Triton is installed; 1 to 8
  bits.
- `tiles`: torch alone; a tile of rows is unpacked, dequantized, multiplied and dropped. Any bits,
  any groups, any device, but slow for few rows.

`native`, and `tiles` for float32, are exact: the float32 product with the dequantized weight but
for the order of the sums, some 2e-7 of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import CDLL
from functools import lru_cache
from importlib.util import find_spec
from typing import Literal, Protocol

import torch
from torch import Tensor

from kernels import grouped, native, packing
from kernels.codebook import lookup
from kernels.grouped import Dim
from kernels.native.weight import BITS, NativeWeight, fits, lanes

WayName = Literal["native", "int4pack", "triton", "tiles"]
WAYS: tuple[WayName, ...] = ("native", "int4pack", "triton", "tiles")

_INT4PACK_GROUPS = (32, 64, 128, 256)
_INT4PACK_ROWS = 16  # its outputs come in multiples of this
_INT4PACK_BATCH = 8  # beyond it, dequantizing once is faster
_TRITON_BATCH = 64  # likewise


class Way(Protocol):
    """One way to multiply with the weight that it holds."""

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        ...

    def serves(self, x: Tensor) -> bool:
        """Whether `matmul` takes these rows."""
        ...

    def matmul(self, x: Tensor) -> Tensor:
        """(batch, in) -> (batch, out) of the same type."""
        ...


class LowBitWeight:
    """A weight (out, in) of few bits that multiplies; made by `prepare`.

    Attributes:
        shape: out and in.
        bits: of a code.
        ways: what it multiplies by; the first that serves is taken.
    """

    def __init__(self, shape: tuple[int, int], bits: int, ways: dict[str, Way]) -> None:
        self.shape = shape
        self.bits = bits
        self.ways = ways

    @property
    def nbytes(self) -> int:
        """Bytes that the weight takes in memory, every copy of it counted."""
        return sum(way.nbytes for way in self.ways.values())

    def matmul(self, x: Tensor) -> Tensor:
        """Multiply x W^T.

        Args:
            x: (..., in), float32, bfloat16 or float16.

        Returns:
            (..., out) of the type of `x`.

        Raises:
            ValueError: `x` has another number of inputs.
        """
        rows, inputs = self.shape
        if x.shape[-1] != inputs:
            raise ValueError(f"The weight has {inputs} inputs, and x has {x.shape[-1]}.")
        flat = x.reshape(-1, inputs)
        way = next(way for way in self.ways.values() if way.serves(flat))
        return way.matmul(flat).view(*x.shape[:-1], rows)


def prepare(
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    bits: int,
    dim: Dim = "in",
    ways: Sequence[WayName] = WAYS,
    table: Tensor | None = None,
) -> LowBitWeight:
    """Pack a weight (code - zero) * scale, or table[code] * scale, for multiplying.

    Args:
        codes: (out, in) uint8, 0 to 2^bits - 1.
        scale: (out, in / g) for `dim` "in", (in, out / g) for "out"; any float type.
        zero: as `scale`, uint8; None for 2^(bits - 1).
        bits: 1 to 8.
        dim: where the groups lie.
        ways: those allowed, of which the machine's best are kept.
        table: (2^bits,) float32 of what the codes stand for, in place of integers: NF4, FP4, FP8.
            Then there is no `zero`, and `dim` is "in".

    Raises:
        ValueError: the shapes do not fit, or none of `ways` serves such a weight.
    """
    if table is not None and (zero is not None or dim == "out"):
        raise ValueError("Codes with a table have no zero point, and groups along the inputs.")
    group = grouped.group_size(codes, scale, dim)
    library = native.load() if "native" in ways and codes.is_cpu else None
    chosen: dict[str, Way] = {}
    named = table is not None
    if library is not None and dim == "in" and fits(codes, scale, bits, named=named):
        chosen["native"] = _Native(library, codes, scale, zero, bits, table)
    elif library is not None and dim == "out" and bits in BITS and group % lanes(library) == 0:
        chosen["native"] = _NativeByOutputs(library, codes, scale, zero, bits)
    if "native" not in chosen:
        four = bits == 4 and dim == "in" and not named
        if "int4pack" in ways and four and _int4pack_fits(codes, group):
            chosen["int4pack"] = _Int4Pack(codes, scale, zero)
        tiles = _Tiles(codes, scale, zero, bits, dim, table)
        if "triton" in ways and codes.is_cuda and dim == "in" and find_spec("triton"):
            chosen["triton"] = _Triton(tiles)
        if "tiles" in ways:
            chosen["tiles"] = tiles
    if not chosen:
        raise ValueError(f"None of {', '.join(ways)} multiplies this weight of {bits} bits.")
    return LowBitWeight((codes.shape[0], codes.shape[1]), bits, chosen)


class _Native:
    """lowbit.c, groups along the inputs."""

    def __init__(
        self,
        library: CDLL,
        codes: Tensor,
        scale: Tensor,
        zero: Tensor | None,
        bits: int,
        table: Tensor | None,
    ) -> None:
        self._weight = NativeWeight(library, codes, scale, zero, bits, names=table)
        self.nbytes = self._weight.nbytes

    def serves(self, x: Tensor) -> bool:
        return x.is_cpu

    def matmul(self, x: Tensor) -> Tensor:
        short = x.dtype == torch.bfloat16 and self._weight.takes_bfloat16
        return self._weight.matmul(x if short else x.to(torch.float32)).to(x.dtype)


class _NativeByOutputs:
    """lowbit.c, groups along the outputs.

    All weights of a group are of one column, so the scales go into x: once for every group of
    outputs, which then takes its own x and bare codes.
    """

    def __init__(
        self, library: CDLL, codes: Tensor, scale: Tensor, zero: Tensor | None, bits: int
    ) -> None:
        group = grouped.group_size(codes, scale, "out")
        self._weight = NativeWeight(library, codes, None, None, bits, share=group)
        self._scale = scale.T.contiguous()  # (groups, in)
        offset = None if zero is None else zero.to(torch.float32) - (1 << (bits - 1))
        self._moved = None if offset is None else offset * scale.to(torch.float32)  # (in, groups)
        moved = 0 if self._moved is None else self._moved.nbytes
        self.nbytes = self._weight.nbytes + self._scale.nbytes + moved

    def serves(self, x: Tensor) -> bool:
        return x.is_cpu

    def matmul(self, x: Tensor) -> Tensor:
        wide = x.to(torch.float32)
        y = self._weight.matmul(self._scale.to(torch.float32).unsqueeze(1) * wide)
        if self._moved is not None:
            y.unflatten(1, (self._scale.shape[0], -1)).sub_((wide @ self._moved).unsqueeze(-1))
        return y.to(x.dtype)


class _Int4Pack:
    """torch's own kernel. The order of its bytes is the processor's: it is never stored."""

    def __init__(self, codes: Tensor, scale: Tensor, zero: Tensor | None) -> None:
        self._group = grouped.group_size(codes, scale, "in")
        self._packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.to(torch.int32), 2)
        wide = scale.to(torch.float32)
        offset = torch.zeros_like(wide) if zero is None else (8.0 - zero.to(torch.float32)) * wide
        both = torch.stack([wide, offset], dim=-1).transpose(0, 1)
        self._scale_and_zero = both.to(torch.bfloat16).contiguous()
        self.nbytes = self._packed.nbytes + self._scale_and_zero.nbytes

    def serves(self, x: Tensor) -> bool:
        return x.is_cpu and x.dtype == torch.bfloat16 and x.shape[0] <= _INT4PACK_BATCH

    def matmul(self, x: Tensor) -> Tensor:
        return torch.ops.aten._weight_int4pack_mm_for_cpu(
            x.contiguous(), self._packed, self._group, self._scale_and_zero
        )


class _Triton:
    """The Triton kernel, on the words that the tiles hold."""

    def __init__(self, tiles: _Tiles) -> None:
        from kernels import triton_grouped  # Triton takes a second to import

        self._matmul = triton_grouped.matmul
        self._tiles = tiles
        self.nbytes = 0  # the tiles count them

    def serves(self, x: Tensor) -> bool:
        return x.is_cuda and x.shape[0] <= _TRITON_BATCH

    def matmul(self, x: Tensor) -> Tensor:
        held = self._tiles
        return self._matmul(x, held.words, held.bits, held.scale, held.zero, held.table)


class _Tiles:
    """Dequantize some rows, multiply, drop them."""

    def __init__(
        self,
        codes: Tensor,
        scale: Tensor,
        zero: Tensor | None,
        bits: int,
        dim: Dim,
        table: Tensor | None,
    ) -> None:
        self.words = packing.pack_bits(codes, bits)
        self.scale, self.zero, self.bits, self.table = scale, zero, bits, table
        self._dim: Dim = dim
        self._rows, self._inputs = codes.shape
        self._group = grouped.group_size(codes, scale, dim)
        self._step = grouped.tile_rows(codes, scale, dim)
        self.nbytes = self.words.nbytes + scale.nbytes + (0 if zero is None else zero.nbytes)

    def serves(self, x: Tensor) -> bool:
        return True

    def matmul(self, x: Tensor) -> Tensor:
        result = x.new_empty((x.shape[0], self._rows))
        for start in range(0, self._rows, self._step):
            weight = self._tile(start).to(x.dtype)
            result[:, start : start + self._step] = x @ weight.T
        return result

    def _tile(self, start: int) -> Tensor:
        words = self.words[start : start + self._step]
        codes = packing.unpack_bits(words, self.bits, self._inputs)
        if self.table is not None:
            weight = lookup(codes, self.table)
            scale = self.scale[start : start + self._step].to(torch.float32)
            weight.unflatten(1, (-1, self._group)).mul_(scale.unsqueeze(-1))
            return weight
        zero = 1 << (self.bits - 1) if self.zero is None else self.zero
        return grouped.dequantize_tile(codes, self.scale, zero, start, self._group, self._dim)


def _int4pack_fits(codes: Tensor, group: int) -> bool:
    """Whether torch's kernel takes such a weight, and is right here."""
    fits_it = codes.is_cpu and codes.shape[0] % _INT4PACK_ROWS == 0 and group in _INT4PACK_GROUPS
    return fits_it and _int4pack_is_right()


@lru_cache(maxsize=1)
def _int4pack_is_right() -> bool:
    """Try torch's kernel, a private operation, on a small weight once."""
    made = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 16, (16, 64), generator=made).to(torch.uint8)
    zero = torch.randint(0, 16, (16, 2), generator=made).to(torch.uint8)
    scale = torch.rand(16, 2, generator=made) + 0.1
    x = torch.randn(3, 64, generator=made).to(torch.bfloat16)
    expected = x.to(torch.float32) @ grouped.dequantize(codes, scale, zero).T
    try:
        got = _Int4Pack(codes, scale, zero).matmul(x).to(torch.float32)
    except (AttributeError, RuntimeError):
        return False
    error = torch.linalg.vector_norm(got - expected) / torch.linalg.vector_norm(expected)
    return bool(error < 0.02)
