"""What a quantized weight is: codes and what turns them back into numbers.

Every method ends in one of a few kinds of `QuantizedLayer`. A layer knows exactly what is stored
and what that stands for, so the error that is measured, the size that is said and the file that is
written are the same thing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from engines.base import UserError
from kernels.grouped import dequantize
from kernels.packing import pack_bits, unpack_bits

Dim = Literal["in", "out"]


@dataclass(frozen=True)
class Grid:
    """How finely a weight is to be rounded.

    Attributes:
        bits: of a code, 2 to 8.
        group_size: weights that share a scale; 0 is a whole row.
        symmetric: no zero point; the grid is then as wide on either side of 0.
    """

    bits: int
    group_size: int = 128
    symmetric: bool = True


def fitting_group(size: int, wanted: int) -> int:
    """The largest group that divides `size` and is at most `wanted`; `size` where there is none.

    Args:
        size: weights along which groups run.
        wanted: group size asked for; 0 is all of them.
    """
    for group in (wanted, 128, 64, 32, 16, 8):
        if 0 < group <= wanted and size % group == 0:
            return group
    return size


class QuantizedLayer(ABC):
    """A weight of shape (out, in) in few bits."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(out, in)."""

    @abstractmethod
    def dequantize(self) -> Tensor:
        """(out, in) float32, from what is stored and nothing else."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What is stored, packed; short names such as "codes"."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Plain values that `from_tensors` needs besides."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """The layer that `tensors` and `settings` describe.

        Raises:
            UserError: they contradict each other.
        """

    @property
    def bits(self) -> float:
        """Bits a weight, with everything that is stored counted."""
        stored = sum(8 * t.numel() * t.element_size() for t in self.tensors().values())
        return stored / (self.shape[0] * self.shape[1])

    def prepare_input(self, x: Tensor) -> Tensor:
        """What reaches the weight of an input (..., in); a method may round activations too."""
        return x


@dataclass(frozen=True)
class Outliers:
    """Weights kept beside the codes, as a sparse matrix in rows.

    Attributes:
        row_start: (out + 1,) int32, where every row begins in `column` and `value`.
        column: (n,) int32.
        value: (n,) float16.
    """

    row_start: Tensor
    column: Tensor
    value: Tensor

    @property
    def rows(self) -> Tensor:
        """(n,) int64, the row of every value."""
        counts = self.row_start[1:] - self.row_start[:-1]
        rows = torch.arange(len(counts), device=counts.device)
        return torch.repeat_interleave(rows, counts.long())

    @classmethod
    def taken(cls, weight: Tensor, places: Tensor) -> Outliers:
        """The values of `weight` (out, in) at `places`, flat indices (n,) int64 in rising order."""
        rows, columns = places // weight.shape[1], places % weight.shape[1]
        counts = torch.bincount(rows, minlength=weight.shape[0])
        start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        value = weight.reshape(-1)[places].half()
        return cls(start.int(), columns.int(), value)


@dataclass(frozen=True)
class Grouped(QuantizedLayer):
    """Integer codes with a scale, and perhaps a zero point, for every group of weights.

    weight = (codes - zero) * scale.

    Attributes:
        codes: (out, in) uint8, 0 .. 2^bits - 1.
        scale: float16; (out, in / group_size), or (in, out / group_size) where `dim` is "out".
        zero: uint8 of the same shape, or None for symmetric grids, whose zero is 2^(bits - 1).
        bit_width: bits of a code.
        group_size: weights in a group.
        dim: whether groups run along the inputs of a row, as is usual, or along the outputs.
        outliers: weights that take the place of what the codes say.
    """

    kind: ClassVar[str] = "grouped"

    codes: Tensor
    scale: Tensor
    zero: Tensor | None
    bit_width: int
    group_size: int
    dim: Dim = "in"
    outliers: Outliers | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.codes.shape[0], self.codes.shape[1]

    def dequantize(self) -> Tensor:
        """See `QuantizedLayer`."""
        zero = 2 ** (self.bit_width - 1) if self.zero is None else self.zero
        weight = dequantize(self.codes, self.scale, zero, self.dim)
        if self.outliers is not None:
            weight[self.outliers.rows, self.outliers.column.long()] = self.outliers.value.float()
        return weight

    def tensors(self) -> dict[str, Tensor]:
        """See `QuantizedLayer`."""
        stored = {"codes": pack_bits(self.codes, self.bit_width), "scale": self.scale}
        if self.zero is not None:
            stored["zero"] = pack_bits(self.zero, self.bit_width)
        if self.outliers is not None:
            stored["outlier_start"] = self.outliers.row_start
            stored["outlier_column"] = _narrow(self.outliers.column, self.shape[1])
            stored["outlier_value"] = self.outliers.value
        return stored

    def settings(self) -> dict[str, Any]:
        """See `QuantizedLayer`."""
        return {
            "shape": list(self.shape),
            "bits": self.bit_width,
            "group_size": self.group_size,
            "group_dim": self.dim,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """See `QuantizedLayer`."""
        rows, columns = settings["shape"]
        bits, group, dim = settings["bits"], settings["group_size"], settings["group_dim"]
        scale = tensors["scale"]
        lines, length = (rows, columns) if dim == "in" else (columns, rows)
        if scale.shape != (lines, length // group) or length % group:
            raise UserError(
                f"A quantized weight contradicts itself: {tuple(scale.shape)} scales for "
                f"{rows} x {columns} weights in groups of {group}; the file is damaged"
            )
        zero = tensors.get("zero")
        outliers = None
        if "outlier_start" in tensors:
            outliers = Outliers(
                tensors["outlier_start"],
                _widen(tensors["outlier_column"]),
                tensors["outlier_value"],
            )
        return cls(
            unpack_bits(tensors["codes"], bits, columns),
            scale,
            None if zero is None else unpack_bits(zero, bits, length // group),
            bits,
            group,
            dim,
            outliers,
        )


def _narrow(column: Tensor, columns: int) -> Tensor:
    """Column numbers in 16 bits where they fit, as signed numbers: safetensors' plain types."""
    if columns > 65536:
        return column
    return torch.where(column > 32767, column - 65536, column).to(torch.int16)


def _widen(column: Tensor) -> Tensor:
    if column.dtype != torch.int16:
        return column
    wide = column.int()
    return torch.where(wide < 0, wide + 65536, wide)
