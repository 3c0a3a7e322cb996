"""What an export has to know of a quantized weight, without the weight."""

from __future__ import annotations

from dataclasses import dataclass

from engines.quantize.layers import Dim, Grouped, QuantizedLayer


@dataclass(frozen=True)
class Traits:
    """How a weight is held; plain values, so that it can be kept as JSON (`dataclasses.asdict`).

    Attributes:
        kind: as in `QuantizedLayer.kind`.
        shape: (out, in).
        bits: of a code; 0 for kinds that do not have codes of a fixed width.
        group_size: weights that share a scale.
        symmetric: there are no zero points.
        dim: whether groups run along the inputs or the outputs.
        outliers: some weights are kept beside the codes.
        conv1d: the module that holds it is GPT-2's `Conv1D`, whose weight lies transposed.
    """

    kind: str
    shape: tuple[int, int]
    bits: int = 0
    group_size: int = 0
    symmetric: bool = True
    dim: Dim = "in"
    outliers: bool = False
    conv1d: bool = False


def traits(layer: QuantizedLayer, conv1d: bool = False) -> Traits:
    """The traits of a layer that is there."""
    if isinstance(layer, Grouped):
        return Traits(
            layer.kind,
            layer.shape,
            layer.bit_width,
            layer.group_size,
            layer.zero is None,
            layer.dim,
            layer.outliers is not None,
            conv1d,
        )
    return Traits(layer.kind, layer.shape, conv1d=conv1d)
