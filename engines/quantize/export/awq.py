"""AutoAWQ's "gemm": 4 bits, zero points, words along the outputs in an order of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from engines.quantize.export.format import (
    Format,
    common_group,
    finer,
    head,
    no_grouped,
    zeros,
)
from engines.quantize.export.traits import Traits
from engines.quantize.layers import Grouped, QuantizedLayer
from kernels.packing import pack_awq


class Awq(Format):
    """One group size for the whole model; coarser groups are written as several finer ones."""

    name = "awq"
    title = "AWQ"
    half = True
    packages = "transformers gptqmodel accelerate"
    where = "or with vLLM"
    arguments = ', device_map="auto"'

    def __init__(
        self,
        layers: Mapping[str, Traits],
        method: str = "",
        source: torch.dtype = torch.float32,
    ) -> None:
        """See `Format`."""
        super().__init__(layers, method, source)
        self._group = common_group(layers.values())

    @staticmethod
    def reason(layer: Traits) -> str:
        """See `Format`."""
        plain = no_grouped(layer, Awq.title)
        if plain:
            return plain
        if layer.conv1d:
            return "it is a Conv1D, and AWQ knows Linear layers only"
        if layer.bits != 4:
            return f"it has {layer.bits} bits, and AWQ's are 4"
        if layer.shape[0] % 8:
            return f"AWQ packs eight outputs a word, and it has {layer.shape[0]}"
        return ""

    def pack(self, name: str, layer: QuantizedLayer) -> dict[str, Tensor]:
        """See `Format`."""
        assert isinstance(layer, Grouped)
        return {
            "qweight": pack_awq(layer.codes),
            "qzeros": pack_awq(finer(zeros(layer), layer, self._group)),
            "scales": finer(layer.scale, layer, self._group).T,
        }

    def config(self, plain: Sequence[str]) -> dict[str, Any]:
        """See `Format`."""
        return {
            "quant_method": "awq",
            "bits": 4,
            "group_size": self._group,
            "zero_point": True,
            "version": "gemm",
            "modules_to_not_convert": head(plain),
        }
