"""The formats by name, which of them fits, and why one does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engines.quantize.export.awq import Awq
from engines.quantize.export.bitsandbytes import BitsAndBytes
from engines.quantize.export.compressed_tensors import CompressedTensors
from engines.quantize.export.dense import Dense
from engines.quantize.export.format import Format
from engines.quantize.export.gptq import Gptq
from engines.quantize.export.studio import Studio
from engines.quantize.export.traits import Traits, traits
from engines.quantize.layers import QuantizedLayer

FORMATS: Mapping[str, type[Format]] = {
    form.name: form for form in (CompressedTensors, Awq, Gptq, BitsAndBytes, Studio, Dense)
}
"""Name -> format; the keys are the values of the engines' `export` parameter."""


def choose(layers: Iterable[tuple[str, QuantizedLayer | Traits]]) -> str:
    """The format for people who do not care: what most runtimes load, else our own.

    Args:
        layers: name of the module, and its weight or what is known of it.
    """
    held = {name: _traits(layer) for name, layer in layers}
    fits = not any(CompressedTensors.reason(layer) for layer in held.values())
    # transformers cannot load zero points and several grids together.
    symmetric = all(layer.symmetric for layer in held.values())
    if fits and (symmetric or not CompressedTensors(held).mixed):
        return CompressedTensors.name
    return Studio.name


def refusal(format: str, name: str, layer: QuantizedLayer | Traits, is_conv1d: bool = False) -> str:
    """Why a format cannot hold a layer, in one sentence, or "".

    Args:
        format: one of `FORMATS`.
        name: of the layer's module, for the sentence.
        layer: the layer, or what is known of it before it is made.
        is_conv1d: the module is GPT-2's `Conv1D`; traits say it themselves.
    """
    form = FORMATS[format]
    reason = form.reason(_traits(layer, is_conv1d))
    if not reason:
        return ""
    return f"{form.title} cannot hold {name}: {reason}; choose another export, such as studio"


def _traits(layer: QuantizedLayer | Traits, is_conv1d: bool = False) -> Traits:
    return layer if isinstance(layer, Traits) else traits(layer, is_conv1d)
