"""compressed-tensors' "pack-quantized": the format of vLLM and llm-compressor, our default.

Weights are a dense stream of codes along the inputs, zero points one along the outputs; weights of
different grids stand in config groups of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from engines.quantize.export.format import Format, head, no_grouped
from engines.quantize.export.traits import Traits
from engines.quantize.layers import Grouped, QuantizedLayer
from kernels.packing import pack_bits

_Scheme = tuple[int, int, bool]  # bits, group size (0: the whole row), symmetric


class CompressedTensors(Format):
    """See the module."""

    name = "compressed-tensors"
    title = "compressed-tensors"
    packages = "transformers compressed-tensors"
    where = "on any CPU or GPU; or with vLLM"

    @property
    def mixed(self) -> bool:
        """Whether the layers are of several grids."""
        return len(self._schemes()) > 1

    @staticmethod
    def reason(layer: Traits) -> str:
        """See `Format`."""
        if layer.conv1d:
            return "it is a Conv1D, and compressed-tensors knows Linear layers only"
        return no_grouped(layer, CompressedTensors.title)

    def pack(self, name: str, layer: QuantizedLayer) -> dict[str, Tensor]:
        """See `Format`."""
        assert isinstance(layer, Grouped)
        stored = {
            "weight_packed": pack_bits(layer.codes, layer.bit_width),
            "weight_scale": layer.scale,
            "weight_shape": torch.tensor(layer.shape),
        }
        if layer.zero is not None:
            stored["weight_zero_point"] = pack_bits(layer.zero.T, layer.bit_width).T
        return stored

    def config(self, plain: Sequence[str]) -> dict[str, Any]:
        """See `Format`."""
        schemes = self._schemes()
        return {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "quantization_status": "compressed",
            "global_compression_ratio": None,
            "kv_cache_scheme": None,
            "ignore": head(plain),
            "config_groups": {
                f"group_{number}": _group(scheme, names if self.mixed else ["Linear"])
                for number, (scheme, names) in enumerate(schemes.items())
            },
        }

    def loading(self, folder: str) -> str:
        """See `Format`; transformers reads zero points only while it makes the weights dense."""
        if all(layer.symmetric for layer in self.layers.values()):
            return super().loading(folder)
        if self.mixed:
            return "With vLLM; transformers does not read zero points and several grids together."
        asked = ", quantization_config=CompressedTensorsConfig(dequantize=True)"
        text = super().loading(folder)
        text = text.replace("import Auto", "import CompressedTensorsConfig, Auto")
        return text.replace(
            f'LM.from_pretrained("{folder}"', f'LM.from_pretrained("{folder}"{asked}'
        )

    def _schemes(self) -> dict[_Scheme, list[str]]:
        """Grid -> the layers that have it."""
        found: dict[_Scheme, list[str]] = {}
        for name, layer in self.layers.items():
            group = 0 if layer.group_size == layer.shape[1] else layer.group_size
            found.setdefault((layer.bits, group, layer.symmetric), []).append(name)
        return found


def _group(scheme: _Scheme, targets: list[str]) -> dict[str, Any]:
    bits, group, symmetric = scheme
    return {
        "targets": targets,
        "input_activations": None,
        "output_activations": None,
        "weights": {
            "num_bits": bits,
            "type": "int",
            "symmetric": symmetric,
            "strategy": "group" if group else "channel",
            "group_size": group or None,
            "dynamic": False,
            "actorder": None,
            "observer": "minmax",
        },
    }
