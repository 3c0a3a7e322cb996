"""AutoGPTQ's layout: words along the inputs, zero points along the outputs.

Version 1 stores zero points less one, so a zero point of 0 has no place in it; symmetric models are
written so, as every reader knows it. Others are written as version 2, which stores them as is.
"""

from __future__ import annotations

import re
from collections import Counter
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
from kernels.packing import pack_bits, pack_gptq

_BITS = (2, 3, 4, 8)


class Gptq(Format):
    """Layers of other bits than most are named in `dynamic`, as GPTQModel and vLLM read it."""

    name = "gptq"
    title = "GPTQ"
    half = True
    packages = "transformers optimum gptqmodel accelerate"
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
        self._symmetric = all(layer.symmetric for layer in layers.values())
        self._bits = Counter(layer.bits for layer in layers.values()).most_common(1)[0][0]
        self._group = common_group(layers.values())

    @staticmethod
    def reason(layer: Traits) -> str:
        """See `Format`."""
        plain = no_grouped(layer, Gptq.title)
        if plain:
            return plain
        if layer.bits not in _BITS:
            return f"it has {layer.bits} bits, and GPTQ's are 2, 3, 4 or 8"
        if layer.shape[0] % 32 or layer.shape[1] % 32:
            rows, columns = layer.shape
            return f"GPTQ fills whole words, multiples of 32, and it is {rows} x {columns}"
        return ""

    def pack(self, name: str, layer: QuantizedLayer) -> dict[str, Tensor]:
        """See `Format`."""
        assert isinstance(layer, Grouped)
        bits, columns = layer.bit_width, layer.shape[1]
        zero = finer(zeros(layer), layer, self._group)
        if self._symmetric:
            zero = zero - 1
        size = columns if self._group == -1 else self._group
        return {
            "qweight": pack_gptq(layer.codes, bits),
            "qzeros": pack_bits(zero.T, bits),
            "scales": finer(layer.scale, layer, self._group).T,
            "g_idx": torch.arange(columns, dtype=torch.int32) // size,
        }

    def loading(self, folder: str) -> str:
        """See `Format`; transformers itself does not look at `dynamic`."""
        if all(layer.bits == self._bits for layer in self.layers.values()):
            return super().loading(folder)
        return "With GPTQModel (`GPTQModel.load`) or vLLM; transformers does not read mixed bits."

    def config(self, plain: Sequence[str]) -> dict[str, Any]:
        """See `Format`."""
        dynamic: dict[str, dict[str, int]] = {
            f"+:^{re.escape(name)}$": {"bits": layer.bits}
            for name, layer in self.layers.items()
            if layer.bits != self._bits
        }
        dynamic |= {f"-:^{re.escape(name)}$": {} for name in head(plain)}
        return {
            "quant_method": "gptq",
            "bits": self._bits,
            "group_size": self._group,
            "desc_act": False,
            "sym": self._symmetric,
            "checkpoint_format": "gptq" if self._symmetric else "gptq_v2",
            "damp_percent": 0.01,
            "true_sequential": False,
            "lm_head": False,
            "dynamic": dynamic,
        }
