"""bitsandbytes' NF4 (or FP4) and INT8, as transformers saves and loads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from engines.base import UserError
from engines.quantize.export.format import Format, head
from engines.quantize.export.traits import Traits
from engines.quantize.layers import QuantizedLayer
from engines.quantize.nf4 import Int8Rows, Nested, NormalFloat
from kernels.packing import pack_nibbles, unpack_nibbles

_STATE = "quant_state.bitsandbytes__"


class BitsAndBytes(Format):
    """Holds what `quantize.bnb` makes: one of its two kinds for the whole model."""

    name = "bitsandbytes"
    title = "bitsandbytes"
    packages = "transformers accelerate bitsandbytes"
    where = "on any CPU or GPU"

    def __init__(
        self,
        layers: Mapping[str, Traits],
        method: str = "",
        source: torch.dtype = torch.float32,
    ) -> None:
        """See `Format`.

        Raises:
            UserError: the layers are of both kinds.
        """
        super().__init__(layers, method, source)
        self._kinds = {layer.kind for layer in layers.values()}
        if len(self._kinds) > 1:
            raise UserError(
                "bitsandbytes has 4 or 8 bits in a whole model; choose the export studio"
            )
        self._type, self._double = "nf4", False

    @staticmethod
    def reason(layer: Traits) -> str:
        """See `Format`."""
        if layer.kind not in ("nf4", "int8"):
            return f"its codes are {layer.kind}, and bitsandbytes has NF4 and INT8 of its own"
        return ""

    def pack(self, name: str, layer: QuantizedLayer) -> dict[str, Tensor]:
        """See `Format`."""
        if isinstance(layer, Int8Rows):
            rows = torch.tensor(0, dtype=torch.uint8)  # the order of its bytes: row by row
            return {"weight": layer.codes, "SCB": layer.absmax, "weight_format": rows}
        assert isinstance(layer, NormalFloat)
        said: dict[str, Any] = {
            "quant_type": layer.quant_type,
            "blocksize": layer.blocksize,
            "dtype": str(self.dtype).removeprefix("torch."),
            "shape": list(layer.shape),
        }
        stored = {
            "weight": pack_nibbles(layer.codes),
            "weight.absmax": layer.absmax,
            "weight.quant_map": layer.quant_map,
        }
        if layer.nested is not None:
            said |= {
                "nested_blocksize": layer.nested.blocksize,
                "nested_dtype": "float32",
                "nested_offset": layer.nested.offset,
            }
            stored["weight.nested_absmax"] = layer.nested.absmax
            stored["weight.nested_quant_map"] = layer.nested.quant_map
        text = bytearray(json.dumps(said).encode())
        stored[f"weight.{_STATE}{layer.quant_type}"] = torch.frombuffer(text, dtype=torch.uint8)
        self._type, self._double = layer.quant_type, layer.nested is not None
        return stored

    def config(self, plain: Sequence[str]) -> dict[str, Any]:
        """See `Format`."""
        four = "nf4" in self._kinds
        return {
            "quant_method": "bitsandbytes",
            "load_in_4bit": four,
            "load_in_8bit": not four,
            "bnb_4bit_quant_type": self._type,
            "bnb_4bit_use_double_quant": self._double,
            "bnb_4bit_compute_dtype": str(self.dtype).removeprefix("torch."),
            "bnb_4bit_quant_storage": "uint8",
            "llm_int8_threshold": 6.0,
            "llm_int8_has_fp16_weight": False,
            "llm_int8_skip_modules": head(plain),
        }


def read_four(weight: Tensor, beside: Mapping[str, Tensor]) -> NormalFloat:
    """A 4-bit weight from `weight` and what lies below its name ("absmax", "quant_map", ...).

    Raises:
        KeyError, ValueError: something is missing or does not fit.
    """
    state = next(value for name, value in beside.items() if name.startswith(_STATE))
    said = json.loads(bytes(state.tolist()))
    rows, columns = said["shape"]
    absmax, size = beside["absmax"], said["blocksize"]
    if absmax.numel() != -(-rows * columns // size):
        raise ValueError(f"{absmax.numel()} maxima for {rows} x {columns}.")
    nested = None
    if "nested_absmax" in beside:
        nested = Nested(
            beside["nested_absmax"],
            beside["nested_quant_map"],
            said["nested_offset"],
            said["nested_blocksize"],
        )
    codes = unpack_nibbles(weight, rows * columns).view(rows, columns)
    return NormalFloat(codes, absmax, beside["quant_map"], said["quant_type"], size, nested)


def read_eight(weight: Tensor, absmax: Tensor) -> Int8Rows:
    """An INT8 weight from `weight` (out, in) int8 and `SCB` (out,).

    Raises:
        ValueError: they do not fit each other.
    """
    if weight.dtype != torch.int8 or absmax.shape != weight.shape[:1]:
        raise ValueError(f"{absmax.numel()} maxima for {tuple(weight.shape)}.")
    return Int8Rows(weight, absmax.float())
