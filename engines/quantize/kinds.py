"""The kinds of quantized layers by name, imported when one is met."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from engines.base import UserError
from engines.quantize.layers import QuantizedLayer

_KINDS: dict[str, str] = {
    "grouped": "engines.quantize.layers:Grouped",
    "floating": "engines.quantize.floating:Floating",
    "vector": "engines.quantize.vector:Vector",
    "nf4": "engines.quantize.nf4:NormalFloat",
    "int8": "engines.quantize.nf4:Int8Rows",
    "stepped": "engines.quantize.diffusion.layers:Stepped",
}


def layer_kind(name: str) -> type[QuantizedLayer]:
    """The class of a kind.

    Raises:
        UserError: there is no such kind.
    """
    dotted = _KINDS.get(name)
    if dotted is None:
        raise UserError(f"This model holds weights of an unknown kind ({name}); update the studio")
    module, _, attribute = dotted.partition(":")
    return cast("type[QuantizedLayer]", getattr(import_module(module), attribute))
