"""Tiny random models, quantized and exported, beside the same models with dequantized weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from engines.quantize.block import LINEAR
from engines.quantize.export import Card, CardLine, Writer, traits
from engines.quantize.floating import Floating, LowRank, Scales
from engines.quantize.folder import open_folder
from engines.quantize.layers import Grid, Outliers, QuantizedLayer
from engines.quantize.methods.bnb import Bnb
from engines.quantize.methods.grid import round_weight
from engines.quantize.vector import Books, Vector
from kernels.float_codes import E2M1, encode
from tests.engines.quantize.models import lone_block, model

TOKENS = torch.arange(1, 25).view(2, 12)

Make = Callable[[str, Tensor], QuantizedLayer]
"""Name of a layer and its weight (out, in) float32 -> the layer."""


@dataclass(frozen=True)
class Exported:
    """A folder and the logits that it has to give, (2, 12, vocabulary) float32."""

    folder: Path
    source: Path
    logits: Tensor
    model: PreTrainedModel


def grouped(bits: int, group: int, *, symmetric: bool = True) -> Make:
    return lambda _, weight: round_weight(weight, Grid(bits, group, symmetric))


def by_outputs(_: str, weight: Tensor) -> QuantizedLayer:
    return round_weight(weight, Grid(4, 32, False), dim="out")


def with_outliers(_: str, weight: Tensor) -> QuantizedLayer:
    layer = round_weight(weight, Grid(3, 32, False))
    places = weight.abs().flatten().topk(40).indices.sort().values
    fields = {**vars(layer), "outliers": Outliers.taken(weight, places)}
    return type(layer)(**fields)


def floating(_: str, weight: Tensor) -> QuantizedLayer:
    groups = weight.unflatten(1, (-1, 32))
    scales = Scales((groups.abs().amax(-1) / 6).half())
    codes = encode(groups / scales.values().unsqueeze(-1), E2M1).flatten(1)
    left, right = torch.randn(len(weight), 4) / 40, torch.randn(4, weight.shape[1]) / 40
    low_rank = LowRank.stored(left, right, int8=True)
    return Floating(codes, E2M1, scales, 32, low_rank)


def with_activations(name: str, weight: Tensor) -> QuantizedLayer:
    layer = floating(name, weight)
    return Floating(**{**vars(layer), "activations": "fp8"})


def vectors(_: str, weight: Tensor) -> QuantizedLayer:
    rows, columns = weight.shape
    few = torch.tensor([1, 5], dtype=torch.int32)

    def books(count: int, *sizes: int) -> Books:
        indices = [torch.randint(k, (-(-rows // 6), count), dtype=torch.int32) for k in sizes]
        return Books(tuple((torch.randn(k, 6) / 8).half() for k in sizes), tuple(indices))

    scale, row_scale = (torch.rand(columns) + 0.5).half(), (torch.rand(rows) + 0.5).half()
    return Vector(books(columns - 2, 64, 16), scale, row_scale, books(2, 16), few)


def bnb(bits: int, *, double: bool = False, kind: str = "nf4") -> Make:
    def make(_: str, weight: Tensor) -> QuantizedLayer:
        method = Bnb(quant_type=kind, double_quant=double)  # type: ignore[arg-type]
        block = lone_block({"w": weight}, [])
        return method.quantize(block, {"w": Grid(bits)})["w"]

    return make


def export(
    to: Path,
    architecture: str,
    format: str,
    make: Make,
    *,
    skip: str = "no layer",
    shard_bytes: int = 2_000_000_000,
    dtype: torch.dtype = torch.float32,
) -> Exported:
    """Save a random model into `to`/source, its quantized linears into `to`/made."""
    whole = model(architecture)
    whole.load_state_dict({k: v.half().float() for k, v in whole.state_dict().items()})
    source, folder = to / "source", to / "made"
    folder.mkdir(parents=True)
    cast("nn.Module", whole).to(dtype)
    whole.save_pretrained(source)
    whole.float()
    head = whole.get_output_embeddings()
    linears = {
        name: part
        for name, part in whole.named_modules()
        if isinstance(part, LINEAR) and part is not head and skip not in name
    }
    torch.manual_seed(1)
    layers = {name: make(name, weight_of(part)) for name, part in linears.items()}
    known = {n: traits(layer, isinstance(linears[n], Conv1D)) for n, layer in layers.items()}
    with Writer(folder, format, open_folder(source), known, shard_bytes=shard_bytes) as writer:
        for name, value in stored(whole, set(linears)).items():
            writer.add_plain(name, value)
        for name, layer in layers.items():
            bias = linears[name].bias
            writer.add(name, layer, bias if isinstance(bias, Tensor) else None)
            weight_of(linears[name]).copy_(layer.dequantize())
        writer.finish(card(list(layers)))
    for name, layer in layers.items():
        watch(linears[name], layer)
    return Exported(folder, source, logits(whole), whole)


def card(names: list[str]) -> Card:
    lines = [CardLine(name, 4.25, 0.0123) for name in names]
    figures = {"Perplexity": "15.2 (original 13.3)"}
    return Card("tiny", "Rounding to nearest", {"Bits": "4"}, figures, lines, ("A note.",))


def weight_of(linear: nn.Module) -> Tensor:
    """(out, in), a view."""
    weight = linear.weight
    assert isinstance(weight, Tensor)
    return weight.detach() if isinstance(linear, nn.Linear) else weight.detach().T


def stored(whole: PreTrainedModel, linears: set[str]) -> dict[str, Tensor]:
    """What is not quantized; of tied weights one."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in whole.state_dict().items():
        if name.rpartition(".")[0] not in linears and value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            found[name] = value
    return found


def watch(linear: nn.Module, layer: QuantizedLayer) -> None:
    """Let the reference round its activations too, where the layer does."""
    linear.register_forward_pre_hook(lambda _, args: (layer.prepare_input(args[0]),))


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(input_ids=TOKENS).logits.float()
