"""bitsandbytes' two kinds of weights: 4-bit codes into a table, and whole rows in 8 bits.

Dettmers et al., "QLoRA" (NeurIPS 2023), section 3, for NF4 and for absolute maxima that are
rounded in turn ("double quantization"); "LLM.int8()" (NeurIPS 2022), section 2, for the rows.
Attributes are called and stored as in bitsandbytes' own files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Self

from torch import Tensor

from engines.base import UserError
from engines.quantize.layers import QuantizedLayer
from kernels.codebook import lookup
from kernels.packing import pack_nibbles, unpack_nibbles

_INT8 = 127  # the code of a row's largest value


@dataclass(frozen=True)
class Nested:
    """Rounded absolute maxima: quant_map[code] * absmax of the block of maxima + offset.

    Attributes:
        absmax: (ceil(blocks / blocksize),) float32.
        quant_map: (256,) float32.
        offset: the mean of all maxima, taken off before they are rounded.
        blocksize: maxima in a block.
    """

    absmax: Tensor
    quant_map: Tensor
    offset: float
    blocksize: int = 256


@dataclass(frozen=True)
class NormalFloat(QuantizedLayer):
    """4-bit codes: weight = quant_map[code] * absmax of the block.

    Attributes:
        codes: (out, in) uint8, 0 to 15.
        absmax: of every `blocksize` weights, row after row: float32 (ceil(out in / blocksize),), or
            uint8 codes of them where there is `nested`.
        quant_map: (16,) float32.
        quant_type: "nf4" or "fp4".
        blocksize: weights in a block; blocks run on from one row into the next.
        nested: what the maxima's codes stand for.
    """

    kind: ClassVar[str] = "nf4"

    codes: Tensor
    absmax: Tensor
    quant_map: Tensor
    quant_type: str = "nf4"
    blocksize: int = 64
    nested: Nested | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.codes.shape[0], self.codes.shape[1]

    def maxima(self) -> Tensor:
        """(blocks,) float32: the absolute maxima, decoded."""
        if self.nested is None:
            return self.absmax
        found = lookup(self.absmax, self.nested.quant_map)
        return _scaled(found, self.nested.absmax, self.nested.blocksize) + self.nested.offset

    def dequantize(self) -> Tensor:
        """See `QuantizedLayer`."""
        values = lookup(self.codes, self.quant_map)
        return _scaled(values.view(-1), self.maxima(), self.blocksize).view(self.shape)

    def tensors(self) -> dict[str, Tensor]:
        """See `QuantizedLayer`; as bitsandbytes' own files have them below "weight"."""
        stored = {
            "codes": pack_nibbles(self.codes), "absmax": self.absmax, "quant_map": self.quant_map,
        }  # fmt: skip
        if self.nested is not None:
            stored["nested_absmax"] = self.nested.absmax
            stored["nested_quant_map"] = self.nested.quant_map
        return stored

    def settings(self) -> dict[str, Any]:
        """See `QuantizedLayer`."""
        plain = {
            "shape": list(self.shape), "quant_type": self.quant_type, "blocksize": self.blocksize,
        }  # fmt: skip
        if self.nested is None:
            return plain
        return plain | {
            "nested_offset": self.nested.offset, "nested_blocksize": self.nested.blocksize,
        }  # fmt: skip

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """See `QuantizedLayer`."""
        shape, blocksize = tuple(settings["shape"]), settings["blocksize"]
        packed, absmax = tensors["codes"], tensors["absmax"]
        if packed.numel() != -(-prod(shape) // 2) or absmax.numel() != -(-prod(shape) // blocksize):
            raise UserError(
                f"A quantized weight contradicts itself: {packed.numel()} bytes and "
                f"{absmax.numel()} maxima for {shape[0]} x {shape[1]} weights in blocks of "
                f"{blocksize}; the file is damaged"
            )
        nested = None
        if "nested_absmax" in tensors:
            nested = Nested(
                tensors["nested_absmax"], tensors["nested_quant_map"],
                settings["nested_offset"], settings["nested_blocksize"],
            )  # fmt: skip
        return cls(
            unpack_nibbles(packed, prod(shape)).view(shape), absmax, tensors["quant_map"],
            settings["quant_type"], blocksize, nested,
        )  # fmt: skip


@dataclass(frozen=True)
class Int8Rows(QuantizedLayer):
    """8-bit codes: weight = code * absmax of the row / 127.

    Attributes:
        codes: (out, in) int8.
        absmax: (out,) float32; "SCB" in bitsandbytes' files.
    """

    kind: ClassVar[str] = "int8"

    codes: Tensor
    absmax: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.codes.shape[0], self.codes.shape[1]

    def dequantize(self) -> Tensor:
        """See `QuantizedLayer`."""
        # bitsandbytes multiplies by this constant rather than dividing by 127.
        return self.codes.float() * self.absmax.unsqueeze(1) * 7.874015718698502e-3

    def tensors(self) -> dict[str, Tensor]:
        """See `QuantizedLayer`."""
        return {"codes": self.codes, "absmax": self.absmax}

    def settings(self) -> dict[str, Any]:
        """See `QuantizedLayer`."""
        return {"shape": list(self.shape)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """See `QuantizedLayer`."""
        codes, absmax = tensors["codes"], tensors["absmax"]
        if list(codes.shape) != list(settings["shape"]) or absmax.shape != codes.shape[:1]:
            raise UserError(
                f"A quantized weight contradicts itself: {tuple(absmax.shape)} maxima for "
                f"{tuple(codes.shape)} weights; the file is damaged"
            )
        return cls(codes, absmax)


def _scaled(values: Tensor, absmax: Tensor, blocksize: int) -> Tensor:
    """Values (n,), overwritten, times the maximum of their block; the last block may be shorter."""
    whole = len(values) // blocksize
    head, tail = values[: whole * blocksize], values[whole * blocksize :]
    head.view(whole, blocksize).mul_(absmax[:whole].unsqueeze(1))
    if len(tail):
        tail.mul_(absmax[whole])
    return values
