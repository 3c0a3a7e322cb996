"""What multiplies with a quantized weight: the fastest kernel that there is for its kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from importlib.util import find_spec
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn.functional import linear

from engines.quantize.floating import Floating
from engines.quantize.layers import Grouped, QuantizedLayer
from engines.quantize.nf4 import Int8Rows, NormalFloat
from engines.quantize.vector import Books, Vector
from kernels import codebook
from kernels.codebook_matmul import VectorWeight
from kernels.float_codes import table
from kernels.int4_matmul import prepare

Product = Callable[[Tensor], Tensor]
"""x (..., in) of any float type -> x W^T (..., out) of the same."""

_Layer = TypeVar("_Layer", bound=QuantizedLayer)
_TOKENS = 64  # that outliers are added to at a time


def product(layer: QuantizedLayer, device: torch.device) -> Product:
    """What multiplies with a layer's weight on a device; the layer need not be kept."""
    layer = moved(layer, device)
    if isinstance(layer, Grouped):
        plain = _grouped(layer)
        return plain if layer.outliers is None else _Outliers(plain, layer)
    if isinstance(layer, Int8Rows):
        return _grouped(_int8(layer))
    if isinstance(layer, NormalFloat) and layer.shape[1] % layer.blocksize == 0:
        maxima = layer.maxima().view(layer.shape[0], -1)
        return prepare(layer.codes, maxima, None, 4, table=layer.quant_map).matmul
    if isinstance(layer, Floating):
        return _Floating(layer)
    return _Vectors(layer) if isinstance(layer, Vector) else _Whole(layer)


def moved(layer: _Layer, device: torch.device) -> _Layer:
    """The layer with all its tensors on a device."""
    return cast("_Layer", _moved(layer, device))


def _moved(part: Any, device: torch.device) -> Any:
    if isinstance(part, Tensor):
        return part.to(device)
    if isinstance(part, tuple):
        return tuple(_moved(one, device) for one in part)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(
            part, **{one.name: _moved(getattr(part, one.name), device) for one in fields(part)}
        )
    return part


def _grouped(layer: Grouped) -> Product:
    """Integer codes in groups."""
    return prepare(layer.codes, layer.scale, layer.zero, layer.bit_width, layer.dim).matmul


def _int8(layer: Int8Rows) -> Grouped:
    """A row is one group; its scale follows from the weight that the layer says it holds."""
    codes = (layer.codes.short() + 128).to(torch.uint8)
    unit = Int8Rows(torch.ones_like(layer.codes[:, :1]), layer.absmax).dequantize()
    return Grouped(codes, unit, None, 8, layer.shape[1])


class _Floating:
    """Floating-point codes by their table; what low rank adds comes in beside them."""

    def __init__(self, layer: Floating) -> None:
        names = table(layer.form).to(layer.codes.device)
        scale = layer.scales.values()
        self._codes = prepare(layer.codes, scale, None, layer.form.bits, table=names).matmul
        self._factors = None if layer.low_rank is None else layer.low_rank.factors()
        # Only its way with the input is wanted later, so its weights are let go.
        self._prepare = replace(layer, codes=layer.codes[:1, :1]).prepare_input

    def __call__(self, x: Tensor) -> Tensor:
        x = self._prepare(x)
        y = self._codes(x)
        if self._factors is None:
            return y
        left, right = (factor.to(x.dtype) for factor in self._factors)
        return y + linear(linear(x, right), left)


class _Outliers:
    """Adds what the outliers differ by from the codes that lie in their places."""

    def __init__(self, plain: Product, layer: Grouped) -> None:
        assert layer.outliers is not None
        self._plain = plain
        self._rows, self._columns = layer.outliers.rows, layer.outliers.column.long()
        codes = replace(layer, outliers=None).dequantize()
        self._change = layer.outliers.value.float() - codes[self._rows, self._columns]

    def __call__(self, x: Tensor) -> Tensor:
        y = self._plain(x)
        outs, ins = y.view(-1, y.shape[-1]), x.reshape(-1, x.shape[-1])
        for some, out in zip(ins.split(_TOKENS), outs.split(_TOKENS), strict=True):
            change = some.float()[:, self._columns] * self._change
            out += change.new_zeros(out.shape).index_add_(1, self._rows, change).to(out.dtype)
        return y


class _Vectors:
    """Indices into books of vectors: of most columns, and of a few that have their own."""

    def __init__(self, layer: Vector) -> None:
        self._scale, self._row_scale = layer.scale.float(), layer.row_scale.float()
        self._rows = len(layer.row_scale)
        few = layer.outlier_column
        kept = torch.ones(len(layer.scale), dtype=torch.bool, device=layer.scale.device)
        if few is not None:
            kept[few.long()] = False
        self._parts: list[tuple[Tensor | None, Product]] = []
        everything = None if few is None else kept.nonzero().squeeze(1)
        for columns, books in ((everything, layer.main), (few, layer.outlier)):
            if books is not None:
                place = None if columns is None else columns.long()
                self._parts.append((place, _books(books, self._rows)))

    def __call__(self, x: Tensor) -> Tensor:
        wide = x.float() * self._scale
        total = wide.new_zeros(*x.shape[:-1], self._rows)
        for columns, multiply in self._parts:
            total += multiply(wide if columns is None else wide[..., columns])
        return (total * self._row_scale).to(x.dtype)


def _books(books: Books, rows: int) -> Product:
    """What multiplies with the columns of some books; they have the device that they are on."""
    indices, found = books.indices, [book.float() for book in books.books]
    if indices[0].is_cpu:
        return VectorWeight(indices, found, rows).matmul
    if find_spec("triton"):
        from kernels import triton_codebook  # Triton takes a second to import

        return lambda x: triton_codebook.matmul(x, indices, found, rows)
    return lambda x: codebook.matmul(x, indices, found, rows)


class _Whole:
    """Any other kind: the whole weight is dequantized for every product."""

    def __init__(self, layer: QuantizedLayer) -> None:
        self._layer = layer

    def __call__(self, x: Tensor) -> Tensor:
        return linear(self._layer.prepare_input(x), self._layer.dequantize().to(x.dtype))
