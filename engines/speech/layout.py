"""The size of an NCSN++ read from the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import ValidationError

from engines.speech.settings import Size
from engines.weights import Shapes

Kind = Literal["fourier", "linear", "conv", "norm", "combine", "residual", "attention", "other"]
Layer = Mapping[str, tuple[int, ...]]


def size_of(shapes: Shapes) -> Size | None:
    """Settings of the network that these tensors fill, or None if it is no NCSN++.

    `backbone` and `centred` leave no trace in the shapes and are guessed: "ncsnpp_48k" without a
    pyramid, else "ncsnpp"; centred.
    """
    layers = _layers(shapes)
    head = shapes.get("output_layer.weight")
    if head is None or len(head) != 4 or _kind(layers, 0) != "fourier":
        return None
    nf = layers[0]["W"][0]
    conditional = _kind(layers, 1) == "linear"
    at = 3 if conditional else 1
    if nf < 4 or _kind(layers, at) != "conv":
        return None
    at += 1
    blocks = 0
    while _kind(layers, at) == "residual" and not _resamples(layers[at]):
        blocks += 1
        at += 2 if _kind(layers, at + 1) == "attention" else 1
    if blocks == 0 or _kind(layers, at) != "residual":
        return None  # a single level cannot be told from the middle
    at = 4 if conditional else 2
    widths: list[int] = []
    attention: list[int] = []
    pyramid = False
    while True:
        for block in range(blocks):
            if _kind(layers, at) != "residual":
                return None
            if block == 0:
                widths.append(layers[at]["Conv_0.weight"][0])
            at += 1
            if _kind(layers, at) == "attention":
                attention.append(len(widths) - 1)
                at += 1
        if not (_kind(layers, at) == "residual" and _resamples(layers[at])):
            break
        at += 1
        if _kind(layers, at) == "combine":
            pyramid = True
            at += 1
    try:
        return Size(
            nf=nf,
            ch_mult=tuple(width // nf for width in widths),
            num_res_blocks=blocks,
            attention=tuple(sorted(set(attention))),
            spectra=head[1] // 2,
            backbone="ncsnpp" if pyramid else "ncsnpp_48k",
            pyramid=pyramid,
            conditional=conditional,
        )
    except ValidationError:
        return None


def _layers(shapes: Shapes) -> Sequence[Layer]:
    """The tensors of `all_modules.N`, by their names within, for N = 0, 1, ..."""
    found: dict[int, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        root, _, rest = key.partition(".")
        number, _, name = rest.partition(".")
        if root == "all_modules" and number.isdecimal() and name:
            found.setdefault(int(number), {})[name] = shape
    if sorted(found) != list(range(len(found))):
        return []
    return [found[number] for number in range(len(found))]


def _kind(layers: Sequence[Layer], at: int) -> Kind:
    if at >= len(layers):
        return "other"
    layer = layers[at]
    if {"GroupNorm_0.weight", "Conv_0.weight"} <= layer.keys():
        return "residual" if len(layer["Conv_0.weight"]) == 4 else "other"
    if "NIN_0.W" in layer:
        return "attention"
    if "Conv_0.weight" in layer:
        return "combine"
    if set(layer) == {"W"}:
        return "fourier" if len(layer["W"]) == 1 else "other"
    kinds: dict[int, Kind] = {1: "norm", 2: "linear", 4: "conv"}
    return kinds.get(len(layer.get("weight", ())), "other")


def _resamples(layer: Layer) -> bool:
    """A block that keeps its width and still has a shortcut halves or doubles."""
    outputs, inputs = layer["Conv_0.weight"][:2]
    return "Conv_2.weight" in layer and outputs == inputs
