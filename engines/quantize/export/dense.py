"""No codes at all: the dequantized weights in 16 bits, which everything reads."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from engines.quantize.export.format import Format
from engines.quantize.export.traits import Traits
from engines.quantize.layers import QuantizedLayer


class Dense(Format):
    """As large as the original; every weight is rounded to 16 bits once more."""

    name = "dense"
    title = "Dense weights"
    half = True
    where = "or with whatever else reads the original"

    @staticmethod
    def reason(layer: Traits) -> str:
        """Nothing is refused."""
        return ""

    def pack(self, name: str, layer: QuantizedLayer) -> dict[str, Tensor]:
        """The weight in float32; the writer rounds it as it does every matrix."""
        weight = layer.dequantize()
        return {"weight": weight.T if self.layers[name].conv1d else weight}

    def config(self, plain: Sequence[str]) -> None:
        """There is none."""
        return
