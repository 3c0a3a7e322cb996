"""Our own layout, for whatever has no home elsewhere; docs/quantized-layout.md describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from engines.quantize.export.format import Format
from engines.quantize.export.traits import Traits
from engines.quantize.layers import QuantizedLayer

METHOD = "noise-studio"
"""`quant_method` of folders in this layout."""

VERSION = 1


class Studio(Format):
    """Tensors as the layer itself has them, and its settings in config.json."""

    name = "studio"
    title = "Noise Studio's own layout"

    def __init__(
        self,
        layers: Mapping[str, Traits],
        method: str = "",
        source: torch.dtype = torch.float32,
    ) -> None:
        """See `Format`."""
        super().__init__(layers, method, source)
        self._entries: dict[str, dict[str, Any]] = {}

    @staticmethod
    def reason(layer: Traits) -> str:
        """Nothing is refused."""
        return ""

    def pack(self, name: str, layer: QuantizedLayer) -> dict[str, Tensor]:
        """See `Format`."""
        stored = layer.tensors()
        settings = {"kind": layer.kind, "tensors": sorted(stored), **layer.settings()}
        self._entries[name] = settings
        return stored

    def config(self, plain: Sequence[str]) -> dict[str, Any]:
        """See `Format`."""
        return {
            "quant_method": METHOD,
            "version": VERSION,
            "method": self.method,
            "layers": self._entries,
        }

    def loading(self, folder: str) -> str:
        """See `Format`; the studio's folder has to be where Python finds modules."""
        plain = super().loading(folder).partition("```python\n")[2]
        return (
            "With Noise Studio, whose folder is the working folder here:\n\n```python\n"
            "import engines.quantize.runtime.transformers_plugin  # makes the layout known\n"
            f"{plain}"
        )
