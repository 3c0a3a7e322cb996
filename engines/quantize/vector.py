"""Weights as indices into books of vectors.

Liu et al., "VPTQ: Extreme Low-bit Vector Post-Training Quantization for Large Language Models"
(EMNLP 2024). A vector is `length` consecutive outputs of one input column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from engines.base import UserError
from engines.quantize.layers import QuantizedLayer
from kernels.codebook import decode
from kernels.packing import pack_bits, unpack_bits, words_for


@dataclass(frozen=True)
class Books:
    """Indices of some columns and the books they point into; what they find there is added up.

    Attributes:
        books: one (k, length) float16 or two, the second for what the first leaves over; every k
            is a power of two.
        indices: (ceil(out / length), columns) int32 for each book.
    """

    books: tuple[Tensor, ...]
    indices: tuple[Tensor, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Bits of an index, for each book."""
        return tuple(len(book).bit_length() - 1 for book in self.books)

    def decoded(self, rows: int) -> Tensor:
        """(rows, columns) float32."""
        return decode(self.indices, [book.float() for book in self.books], rows)

    def packed(self) -> Tensor:
        """(words,) int32: row after row, the second index above the first, bit after bit."""
        joined = self.indices[0]
        if len(self.indices) > 1:
            joined = joined | (self.indices[1] << self.widths[0])
        return pack_bits(joined.flatten(), sum(self.widths))

    @classmethod
    def unpacked(cls, books: tuple[Tensor, ...], words: Tensor, shape: tuple[int, int]) -> Books:
        """Undo `packed` for a weight of `shape`.

        Raises:
            UserError: there are too few or too many words.
        """
        rows, columns = -(-shape[0] // books[0].shape[1]), shape[1]
        widths = [len(book).bit_length() - 1 for book in books]
        if len(words) != words_for(rows * columns, sum(widths)):
            raise UserError(
                f"A quantized weight contradicts itself: {len(words)} words of indices for "
                f"{shape[0]} x {columns} weights in vectors of {books[0].shape[1]}; "
                "the file is damaged"
            )
        joined = unpack_bits(words, sum(widths), rows * columns).int().view(rows, columns)
        indices = [joined & ((1 << widths[0]) - 1)]
        if len(books) > 1:
            indices.append(joined >> widths[0])
        return cls(books, tuple(indices))


@dataclass(frozen=True)
class Vector(QuantizedLayer):
    """Vector-quantized columns; every column and every row is multiplied by a scale of its own.

    Columns stay in their own order: one book serves them all, so no permutation has to be stored.

    Attributes:
        main: of all columns that are not in `outlier_column`, in order.
        scale: (in,) float16, of each column.
        row_scale: (out,) float16, of each row.
        outlier: books of the columns that matter most, perhaps none.
        outlier_column: (n,) int32, which those are, rising.
    """

    kind: ClassVar[str] = "vector"

    main: Books
    scale: Tensor
    row_scale: Tensor
    outlier: Books | None = None
    outlier_column: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return len(self.row_scale), len(self.scale)

    def dequantize(self) -> Tensor:
        """See `QuantizedLayer`."""
        rows = len(self.row_scale)
        found = self.main.decoded(rows)
        if self.outlier is not None and self.outlier_column is not None:
            weight = found.new_empty(self.shape)
            few = self.outlier_column.long()
            kept = torch.ones(len(self.scale), dtype=torch.bool, device=few.device)
            kept[few] = False
            weight[:, kept] = found
            weight[:, few] = self.outlier.decoded(rows)
            found = weight
        return found.mul_(self.scale.float()).mul_(self.row_scale.float().unsqueeze(1))

    def tensors(self) -> dict[str, Tensor]:
        """See `QuantizedLayer`."""
        stored = {
            "indices": self.main.packed(), "book": self.main.books[0],
            "scale": self.scale, "row_scale": self.row_scale,
        }  # fmt: skip
        if len(self.main.books) > 1:
            stored["residual_book"] = self.main.books[1]
        if self.outlier is not None and self.outlier_column is not None:
            stored["outlier_indices"] = self.outlier.packed()
            stored["outlier_book"] = self.outlier.books[0]
            stored["outlier_column"] = self.outlier_column
        return stored

    def settings(self) -> dict[str, Any]:
        """See `QuantizedLayer`."""
        return {"shape": list(self.shape)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """See `QuantizedLayer`."""
        rows, columns = settings["shape"]
        scale, row_scale = tensors["scale"], tensors["row_scale"]
        if (len(row_scale), len(scale)) != (rows, columns):
            raise UserError(
                f"A quantized weight contradicts itself: {len(row_scale)} and {len(scale)} scales "
                f"for {rows} x {columns} weights; the file is damaged"
            )
        books = tuple(tensors[name] for name in ("book", "residual_book") if name in tensors)
        few, outlier = tensors.get("outlier_column"), None
        if few is not None:
            own = (tensors["outlier_book"],)
            outlier = Books.unpacked(own, tensors["outlier_indices"], (rows, len(few)))
            columns -= len(few)
        main = Books.unpacked(books, tensors["indices"], (rows, columns))
        return cls(main, scale, row_scale, outlier, few)
