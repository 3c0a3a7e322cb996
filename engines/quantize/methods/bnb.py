"""bitsandbytes: no data, tables of values that suit weights; what most people compare with.

Dettmers et al., "QLoRA" (NeurIPS 2023) for 4 bits, "LLM.int8()" (NeurIPS 2022) for 8. The codes are
those of the bitsandbytes library itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from bitsandbytes import functional
from torch import Tensor

from engines.base import UserError
from engines.quantize.block import Block
from engines.quantize.layers import Grid, QuantizedLayer
from engines.quantize.method import NoGradients, Uses
from engines.quantize.nf4 import Int8Rows, Nested, NormalFloat
from kernels.packing import unpack_nibbles


@dataclass(frozen=True)
class Bnb(NoGradients):
    """4 bits in blocks with a table, or 8 bits in rows; group sizes are bitsandbytes' own.

    Attributes:
        quant_type: table of the 4-bit codes: "nf4", even shares of a normal distribution, or
            "fp4", a floating-point number of 4 bits.
        double_quant: round the blocks' maxima to 8 bits as well, 4.13 bits a weight and not 4.5.
        blocksize: weights in a block of 4-bit codes.
    """

    name: ClassVar[str] = "bnb"
    uses: ClassVar[Uses] = "weights"

    quant_type: Literal["nf4", "fp4"] = "nf4"
    double_quant: bool = False
    blocksize: int = 64

    def quantize(self, block: Block, grids: Mapping[str, Grid]) -> dict[str, QuantizedLayer]:
        """See `engines.quantize.method.Method`.

        Raises:
            UserError: other than 4 or 8 bits are wanted.
        """
        made: dict[str, QuantizedLayer] = {}
        for path, grid in grids.items():
            block.check()
            if grid.bits not in (4, 8):
                raise UserError(
                    f"bitsandbytes has 4 and 8 bits, and not {grid.bits}; choose one of them, "
                    "or another method"
                )
            weight = block.weight(path).contiguous()
            made[path] = rows(weight) if grid.bits == 8 else self._blocks(weight)
        return made

    def _blocks(self, weight: Tensor) -> NormalFloat:
        packed, state = functional.quantize_4bit(
            weight,
            blocksize=self.blocksize,
            compress_statistics=self.double_quant,
            quant_type=self.quant_type,
        )
        inner, offset, table = state.state2, state.offset, state.code
        assert table is not None
        nested = None
        if inner is not None and offset is not None:
            assert inner.code is not None
            size = inner.blocksize
            nested = Nested(inner.absmax, inner.code.clone(), float(offset), int(size or 256))
        codes = unpack_nibbles(packed, weight.numel()).view(weight.shape)
        return NormalFloat(
            codes, state.absmax, table.clone(), self.quant_type, self.blocksize, nested
        )


def rows(weight: Tensor) -> Int8Rows:
    """(out, in) float32 in rows of 8 bits, rounded from float16 as bitsandbytes does.

    Raises:
        UserError: a value is beyond what float16 holds.
    """
    half = weight.half()
    if not bool(half.isfinite().all()):
        raise UserError(
            "A weight is too large for float16, which bitsandbytes' 8 bits are rounded from; "
            "choose 4 bits, or another method"
        )
    codes, absmax, _ = functional.int8_vectorwise_quant(half)
    codes[absmax == 0] = 0  # 0 / 0 is whatever the processor makes of it
    return Int8Rows(codes, absmax.float())
