"""Weights as floating-point numbers of 4 or 8 bits, with scales that are powers of two apart.

Wu et al., "ZeroQuant-FP" (2023): section 3 for the numbers, section 4 for scales that a shift can
apply (M1, M2) and for what a product of two thin matrices adds back (LoRC).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from engines.base import UserError
from engines.quantize.layers import QuantizedLayer
from kernels.float_codes import E4M3FN, FORMATS, FloatFormat, decode, encode
from kernels.packing import pack_bits, unpack_bits

Activations = Literal["fp8", "int8"] | None

SHIFT_BITS = 4
MOST_SHIFT = 14
"""E2M1 numbers shifted down by 14 are still exact in E4M3, once their row was shifted up by 6."""


@dataclass(frozen=True)
class Scales:
    """What codes are multiplied with: row * 2^-shift for every group, or `row` alone.

    Attributes:
        row: (out, 1) where there are shifts, else (out, groups): float16, or float32 for numbers of
            8 bits, whose scales would be too small for float16.
        shift: (out, groups) uint8, 0 to `MOST_SHIFT`.
    """

    row: Tensor
    shift: Tensor | None = None

    def values(self) -> Tensor:
        """(out, groups) float32."""
        if self.shift is None:
            return self.row.float()
        return torch.ldexp(self.row.float().expand(self.shift.shape), -self.shift.int())


@dataclass(frozen=True)
class LowRank:
    """A product of two thin matrices, what rounding left over.

    Attributes:
        left: (out, m) float16, or int8.
        right: (m, in) likewise.
        left_scale: (m,) float16 for int8, by which the columns of `left` are multiplied.
        right_scale: (m,) float16, likewise for the rows of `right`.
    """

    left: Tensor
    right: Tensor
    left_scale: Tensor | None = None
    right_scale: Tensor | None = None

    @classmethod
    def stored(cls, left: Tensor, right: Tensor, *, int8: bool) -> LowRank:
        """Float factors (out, m) and (m, in), rounded to what is stored."""
        if not int8:
            return cls(left.half(), right.half())
        codes, scale = _bytes(left.T)
        others, other_scale = _bytes(right)
        return cls(codes.T.contiguous(), others, scale, other_scale)

    def factors(self) -> tuple[Tensor, Tensor]:
        """(out, m) and (m, in) float32."""
        left, right = self.left.float(), self.right.float()
        if self.left_scale is not None and self.right_scale is not None:
            left = left * self.left_scale.float()
            right = right * self.right_scale.float().unsqueeze(1)
        return left, right

    def product(self) -> Tensor:
        """(out, in) float32."""
        left, right = self.factors()
        return left @ right


@dataclass(frozen=True)
class Floating(QuantizedLayer):
    """Floating-point codes: weight = number * scale of the group, and a product of low rank.

    Attributes:
        codes: (out, in) uint8.
        form: which numbers they are.
        scales: of groups along the inputs.
        group_size: weights in a group.
        low_rank: what is added.
        activations: how every token that comes in is rounded: to E4M3 ("fp8") or to 255 even steps
            ("int8") of its own largest value, or not (None).
    """

    kind: ClassVar[str] = "floating"

    codes: Tensor
    form: FloatFormat
    scales: Scales
    group_size: int
    low_rank: LowRank | None = None
    activations: Activations = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.codes.shape[0], self.codes.shape[1]

    def rounded(self) -> Tensor:
        """(out, in) float32: what the codes stand for, without the product of low rank."""
        numbers = decode(self.codes, self.form).unflatten(1, (-1, self.group_size))
        return numbers.mul_(self.scales.values().unsqueeze(-1)).flatten(1)

    def dequantize(self) -> Tensor:
        """See `QuantizedLayer`."""
        weight = self.rounded()
        return weight if self.low_rank is None else weight.add_(self.low_rank.product())

    def prepare_input(self, x: Tensor) -> Tensor:
        """See `QuantizedLayer`; each token (..., in) is rounded by a scale of its own."""
        if self.activations is None:
            return x
        largest = x.float().abs().amax(-1, keepdim=True)
        steps = E4M3FN.largest if self.activations == "fp8" else 127.0
        scale = torch.where(largest > 0, largest / steps, 1.0)
        shown = x.float() / scale
        if self.activations == "fp8":
            shown = decode(encode(shown, E4M3FN), E4M3FN)
        else:
            shown = shown.round()
        return (shown * scale).to(x.dtype)

    def tensors(self) -> dict[str, Tensor]:
        """See `QuantizedLayer`."""
        stored = {"codes": pack_bits(self.codes, self.form.bits), "scale": self.scales.row}
        if self.scales.shift is not None:
            stored["shift"] = pack_bits(self.scales.shift.flatten(), SHIFT_BITS)
        if self.low_rank is not None:
            stored["left"], stored["right"] = self.low_rank.left, self.low_rank.right
            if self.low_rank.left_scale is not None and self.low_rank.right_scale is not None:
                stored["left_scale"] = self.low_rank.left_scale
                stored["right_scale"] = self.low_rank.right_scale
        return stored

    def settings(self) -> dict[str, Any]:
        """See `QuantizedLayer`."""
        return {
            "shape": list(self.shape),
            "format": self.form.name,
            "group_size": self.group_size,
            "activations": self.activations,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """See `QuantizedLayer`."""
        rows, columns = settings["shape"]
        form, group = FORMATS[settings["format"]], settings["group_size"]
        groups = (rows, columns // group)
        row, shift = tensors["scale"], None
        if "shift" in tensors:
            shift = unpack_bits(tensors["shift"], SHIFT_BITS, prod(groups)).view(groups)
        if row.shape != (rows, 1 if shift is not None else groups[1]) or columns % group:
            raise UserError(
                f"A quantized weight contradicts itself: {tuple(row.shape)} scales for "
                f"{rows} x {columns} weights in groups of {group}; the file is damaged"
            )
        low_rank = None
        if "left" in tensors:
            low_rank = LowRank(
                tensors["left"], tensors["right"],
                tensors.get("left_scale"), tensors.get("right_scale"),
            )  # fmt: skip
        codes = unpack_bits(tensors["codes"], form.bits, columns)
        scales = Scales(row, shift)
        return cls(codes, form, scales, group, low_rank, settings["activations"])


def _bytes(lines: Tensor) -> tuple[Tensor, Tensor]:
    """(m, n) float as int8 with a float16 scale for every line."""
    tiny = 2.0**-24
    scale = (lines.abs().amax(1) / 127).clamp_min(tiny).half()
    codes = (lines / scale.float().unsqueeze(1)).round_().clamp_(-127, 127)
    return codes.to(torch.int8), scale
