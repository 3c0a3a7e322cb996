"""Exports through the loaders of those whose formats they are, and their files through ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, CompressedTensorsConfig

import engines.quantize.runtime.transformers_plugin  # noqa: F401  (registers our layout)
from engines.quantize.block import LINEAR
from engines.quantize.export.awq import Awq
from engines.quantize.export.gptq import Gptq
from engines.quantize.export.traits import traits
from engines.quantize.layers import Grid, Grouped, QuantizedLayer
from engines.quantize.methods.grid import round_weight
from engines.quantize.runtime import load_model
from engines.quantize.runtime.linear import QuantizedLinear
from tests.engines.quantize.exported import (
    Exported,
    Make,
    bnb,
    export,
    floating,
    grouped,
    logits,
    vectors,
    weight_of,
)

pytestmark = pytest.mark.filterwarnings("ignore:You passed `quantization_config`")


def theirs(folder: Path, **arguments: Any) -> Tensor:
    return logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **arguments))


def difference(found: Tensor, made: Exported) -> float:
    return float((found - made.logits).abs().max() / made.logits.abs().max())


def several(name: str, weight: Tensor) -> QuantizedLayer:
    return round_weight(weight, Grid(8, 64) if "down" in name else Grid(3, 32))


# their loaders


@pytest.mark.parametrize(
    "make",
    [grouped(2, 32), grouped(3, 32), grouped(4, 0), grouped(8, 64), several],
    ids=["2", "3", "4-rows", "8", "mixed"],
)
def test_compressed_tensors_loads_symmetric_exports(tmp_path: Path, make: Make) -> None:
    made = export(tmp_path, "llama", "compressed-tensors", make, skip="o_proj")
    assert difference(theirs(made.folder), made) < 1e-5


def test_compressed_tensors_loads_zero_points_while_dequantizing(tmp_path: Path) -> None:
    made = export(tmp_path, "llama", "compressed-tensors", grouped(4, 32, symmetric=False))
    asked = CompressedTensorsConfig(dequantize=True)
    # It multiplies in the scales' float16.
    assert difference(theirs(made.folder, quantization_config=asked), made) < 2e-3
    assert "CompressedTensorsConfig(dequantize=True)" in (made.folder / "README.md").read_text()


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("double", [False, True])
def test_bitsandbytes_loads_four_bits(tmp_path: Path, double: bool, architecture: str) -> None:
    made = export(tmp_path, architecture, "bitsandbytes", bnb(4, double=double))
    loaded = AutoModelForCausalLM.from_pretrained(made.folder, dtype=torch.float32)
    for name, part in made.model.named_modules():
        if isinstance(part, LINEAR) and "lm_head" not in name:
            stored: Any = loaded.get_submodule(name).weight
            weight = dequantize_4bit(stored, stored.quant_state)
            assert torch.allclose(weight.float(), weight_of(part), atol=1e-6), name
    # Its kernel for some processors multiplies in bfloat16.
    assert difference(logits(loaded), made) < 0.1


def test_bitsandbytes_loads_eight_bits(tmp_path: Path) -> None:
    made = export(tmp_path, "llama", "bitsandbytes", bnb(8))
    # It rounds the activations to eight bits too.
    assert difference(theirs(made.folder), made) < 0.1


@pytest.mark.parametrize("make", [grouped(3, 32, symmetric=False), floating, vectors])
def test_transformers_loads_our_layout_after_one_import(tmp_path: Path, make: Make) -> None:
    made = export(tmp_path, "llama", "studio", make)
    found: Any = AutoModelForCausalLM.from_pretrained(made.folder, dtype=torch.float32)
    assert difference(logits(found), made) < 1e-5
    assert isinstance(found.get_submodule("model.layers.1.mlp.down_proj"), QuantizedLinear)
    assert found.config.quantization_config.quant_method == "noise-studio"
    written = found.generate(torch.tensor([[3, 4, 5]]), max_new_tokens=4, do_sample=False)
    assert written.shape[1] <= 7


@pytest.mark.parametrize("architecture", ["gpt2", "gemma"])
def test_dense_exports_load_everywhere(tmp_path: Path, architecture: str) -> None:
    made = export(tmp_path, architecture, "dense", grouped(4, 32))
    assert difference(theirs(made.folder), made) < 2e-3


# words, by hand


def layer_of(codes: Tensor, zero: Tensor | None, group: int) -> Grouped:
    scale = torch.ones(len(codes), codes.shape[1] // group).half()
    return Grouped(codes.to(torch.uint8), scale, zero, 4, group)


def test_gptq_words() -> None:
    # The code of output o and input i is (i + o) mod 16.
    codes = (torch.arange(32)[None] + torch.arange(32)[:, None]) % 16
    symmetric = layer_of(codes, None, 16)
    stored = Gptq({"x": traits(symmetric)}).pack("x", symmetric)
    assert stored["qweight"].shape == (4, 32)
    assert stored["qweight"][0, 0] == 0x76543210
    assert stored["qweight"][0, 1] == -0x789ABCDF  # 0x87654321
    assert stored["qzeros"].unique().tolist() == [0x77777777]  # version 1: less one
    assert stored["scales"].shape == (2, 32)
    assert stored["g_idx"].tolist() == [0] * 16 + [1] * 16
    zero = (torch.arange(32)[:, None] % 8).expand(32, 2).to(torch.uint8)
    asymmetric = layer_of(codes, zero, 16)
    form = Gptq({"x": traits(asymmetric)})
    assert form.pack("x", asymmetric)["qzeros"].unique().tolist() == [0x76543210]
    assert form.config([])["checkpoint_format"] == "gptq_v2"


def test_awq_words() -> None:
    codes = torch.arange(8)[:, None].expand(8, 16)  # the code is the output's number
    layer = layer_of(codes, torch.arange(8, 16, dtype=torch.uint8)[:, None], 16)
    stored = Awq({"x": traits(layer)}).pack("x", layer)
    # Nibbles from the lowest on: outputs 0 2 4 6 1 3 5 7.
    assert stored["qweight"].shape == (16, 1)
    assert stored["qweight"].unique().tolist() == [0x75316420]
    assert stored["qzeros"].tolist() == [[0xFDB9ECA8 - 2**32]]
    assert stored["scales"].shape == (1, 8)


def test_coarser_groups_become_several_finer_ones() -> None:
    fine, coarse = (round_weight(torch.randn(32, 64), Grid(4, group, False)) for group in (16, 32))
    form = Awq({"fine": traits(fine), "coarse": traits(coarse)})
    assert form.config([])["group_size"] == 16
    scales = form.pack("coarse", coarse)["scales"]
    assert torch.equal(scales[0::2], coarse.scale.T)
    assert torch.equal(scales[1::2], coarse.scale.T)


# files of others


def rewritten(made: Exported, change: Callable[[dict[str, Tensor]], None], **config: Any) -> Tensor:
    path = made.folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    said = json.loads((made.folder / "config.json").read_text())
    said["quantization_config"] |= config
    (made.folder / "config.json").write_text(json.dumps(said))
    return logits(load_model(made.folder).model)


def test_symmetric_gptq_is_read_by_value(tmp_path: Path) -> None:
    """Some writers store zero points as they are and still say version 1."""

    def eights(tensors: dict[str, Tensor]) -> None:
        for name, value in tensors.items():
            if name.endswith("qzeros"):
                tensors[name] = torch.full_like(value, 0x88888888 - 2**32)

    made = export(tmp_path, "llama", "gptq", grouped(4, 32))
    assert difference(rewritten(made, eights), made) < 1e-5


def test_asymmetric_gptq_of_version_1(tmp_path: Path) -> None:
    def less_one(tensors: dict[str, Tensor]) -> None:
        for name, value in tensors.items():
            if name.endswith("qzeros"):
                bytes_ = value.contiguous().view(torch.uint8)
                low, high = (bytes_ & 15) - 1 & 15, (bytes_ >> 4) - 1 & 15
                tensors[name] = (low | high << 4).view(torch.int32)

    made = export(tmp_path, "llama", "gptq", grouped(4, 32, symmetric=False))
    found = rewritten(made, less_one, checkpoint_format="gptq")
    assert difference(found, made) < 1e-5


def test_gptq_with_sorted_columns(tmp_path: Path) -> None:
    """Act-order: the columns of a group lie anywhere, and g_idx says whose they are."""

    def shuffle(tensors: dict[str, Tensor]) -> None:
        name = "model.layers.0.mlp.up_proj"
        nibbles = (tensors[f"{name}.qweight"][:, None] >> (4 * torch.arange(8))[:, None]) & 15
        codes = nibbles.flatten(0, 1)  # (in, out)
        # Inputs 0 and 40 are of different groups: they change places, in the codes and in g_idx.
        order = torch.arange(len(codes))
        order[[0, 40]] = order[[40, 0]]
        there = codes[order].view(-1, 8, codes.shape[1])
        words = (there.long() << (4 * torch.arange(8))[:, None]).sum(1)
        tensors[f"{name}.qweight"] = (words - ((words >> 31) << 32)).to(torch.int32)
        tensors[f"{name}.g_idx"] = tensors[f"{name}.g_idx"][order].clone()
        norm = tensors["model.layers.0.post_attention_layernorm.weight"]
        tensors["model.layers.0.post_attention_layernorm.weight"] = norm

    made = export(tmp_path, "llama", "gptq", grouped(4, 32))
    moved = made.model.get_submodule("model.layers.0.mlp.up_proj")
    assert isinstance(moved, torch.nn.Linear)
    moved.weight.data[:, [0, 40]] = moved.weight.data[:, [40, 0]]
    wanted = logits(made.model)
    assert difference(wanted, made) > 1e-3
    found = rewritten(made, shuffle, desc_act=True)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-5


def test_awq_gemv(tmp_path: Path) -> None:
    """Rows as in the weight, eight inputs a word in plain order, groups padded to whole words."""
    layers = {}

    def make(name: str, weight: Tensor) -> QuantizedLayer:
        layers[name] = round_weight(weight, Grid(4, 32, False))
        return layers[name]

    def words(codes: Tensor) -> Tensor:
        joined = (codes.long().unflatten(1, (-1, 8)) << (4 * torch.arange(8))).sum(2)
        return (joined - ((joined >> 31) << 32)).to(torch.int32)

    def gemv(tensors: dict[str, Tensor]) -> None:
        for name, layer in layers.items():
            pad = -layer.scale.shape[1] % 8
            tensors[f"{name}.qweight"] = words(layer.codes)
            tensors[f"{name}.qzeros"] = words(torch.nn.functional.pad(layer.zero, (0, pad)))
            tensors[f"{name}.scales"] = torch.nn.functional.pad(layer.scale, (0, pad))

    made = export(tmp_path, "llama", "awq", make)
    assert difference(rewritten(made, gemv, version="gemv"), made) < 1e-5
