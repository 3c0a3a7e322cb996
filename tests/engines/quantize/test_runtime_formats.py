"""Every export, loaded again by our runtime, is the dequantized model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engines.quantize.export import FORMATS, choose, refusal, traits
from engines.quantize.export.traits import Traits
from engines.quantize.layers import Grid, QuantizedLayer
from engines.quantize.methods.grid import round_weight
from engines.quantize.runtime import load_model
from engines.quantize.runtime.linear import QuantizedLinear
from tests.engines.quantize.exported import (
    Exported,
    Make,
    bnb,
    by_outputs,
    export,
    floating,
    grouped,
    logits,
    vectors,
    with_activations,
    with_outliers,
)
from tests.engines.quantize.models import ARCHITECTURES

Case = tuple[str, Make]


def mixed(name: str, weight: torch.Tensor) -> QuantizedLayer:
    down = "down" in name or "fc2" in name
    return round_weight(weight, Grid(8 if down else 3, 64 if down else 32, True))


CASES: dict[str, Case] = {
    **{f"ct-{b}": ("compressed-tensors", grouped(b, 32)) for b in (2, 3, 4, 8)},
    "ct-asymmetric": ("compressed-tensors", grouped(3, 32, symmetric=False)),
    "ct-rows": ("compressed-tensors", grouped(4, 0)),
    "ct-mixed": ("compressed-tensors", mixed),
    "awq": ("awq", grouped(4, 32, symmetric=False)),
    "awq-symmetric": ("awq", grouped(4, 64)),
    "awq-rows": ("awq", grouped(4, 0, symmetric=False)),
    **{f"gptq-{b}": ("gptq", grouped(b, 32)) for b in (2, 3, 4, 8)},
    "gptq-asymmetric": ("gptq", grouped(4, 32, symmetric=False)),
    "gptq-asymmetric-3": ("gptq", grouped(3, 32, symmetric=False)),
    "gptq-mixed": ("gptq", mixed),
    "bnb-nf4": ("bitsandbytes", bnb(4)),
    "bnb-nf4-double": ("bitsandbytes", bnb(4, double=True)),
    "bnb-fp4": ("bitsandbytes", bnb(4, kind="fp4")),
    "bnb-int8": ("bitsandbytes", bnb(8)),
    "studio-grouped": ("studio", grouped(3, 32, symmetric=False)),
    "studio-by-outputs": ("studio", by_outputs),
    "studio-outliers": ("studio", with_outliers),
    "studio-floating": ("studio", floating),
    "studio-vectors": ("studio", vectors),
    "studio-nf4": ("studio", bnb(4, double=True)),
    "studio-int8": ("studio", bnb(8)),
}


def check(made: Exported, tolerance: float = 1e-5) -> None:
    loaded = load_model(made.folder)
    assert any(isinstance(part, QuantizedLinear) for part in loaded.model.modules())
    found = logits(loaded.model)
    assert float((found - made.logits).abs().max() / made.logits.abs().max()) < tolerance


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_the_dequantized_model(tmp_path: Path, case: str) -> None:
    format, make = CASES[case]
    check(export(tmp_path, "llama", format, make))


def test_activations_are_rounded_too(tmp_path: Path) -> None:
    made = export(tmp_path, "llama", "studio", with_activations)
    # The last digit of a sum decides which way an activation is rounded.
    check(made, 0.1)
    with pytest.raises(AssertionError):
        check(replace(made, logits=logits(unrounded(made.model))), 1e-4)


def unrounded(model: torch.nn.Module) -> torch.nn.Module:
    for part in model.modules():
        part._forward_pre_hooks.clear()
    return model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture(tmp_path: Path, architecture: str) -> None:
    check(export(tmp_path, architecture, "studio", grouped(4, 32, symmetric=False)))


@pytest.mark.parametrize("format", ["gptq", "bitsandbytes"])
def test_conv1d_of_gpt2(tmp_path: Path, format: str) -> None:
    make = bnb(4) if format == "bitsandbytes" else grouped(4, 32)
    check(export(tmp_path, "gpt2", format, make))


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma"])
def test_dense_weights_are_rounded_once_more(tmp_path: Path, architecture: str) -> None:
    made = export(tmp_path, architecture, "dense", with_outliers)
    loaded = load_model(made.folder)
    found = loaded.model.state_dict()
    for name, value in made.model.state_dict().items():
        assert torch.equal(found[name], value.half().float()), name
    assert loaded.folder.config["dtype"] == "float16"


def test_sixteen_bits(tmp_path: Path) -> None:
    made = export(tmp_path, "llama", "studio", grouped(4, 32), dtype=torch.bfloat16)
    loaded = load_model(made.folder, dtype=torch.bfloat16)
    assert loaded.model.lm_head.weight.dtype == torch.bfloat16
    found = logits(loaded.model)
    assert float((found - made.logits).abs().max() / made.logits.abs().max()) < 0.05


def test_skipped_layers_stay(tmp_path: Path) -> None:
    for number, format in enumerate(("compressed-tensors", "gptq", "studio")):
        made = export(tmp_path / str(number), "llama", format, grouped(4, 32), skip="v_proj")
        check(made)
        attention = load_model(made.folder).model.get_submodule("model.layers.0.self_attn")
        assert isinstance(attention.q_proj, QuantizedLinear)
        assert isinstance(attention.v_proj, torch.nn.Linear)


# what a format cannot hold

PLAIN = Traits("grouped", (64, 64), 4, 32)


@pytest.mark.parametrize(
    ("format", "change", "reason"),
    [
        ("awq", {"bits": 3}, "it has 3 bits, and AWQ's are 4"),
        ("awq", {"dim": "out"}, "its groups run along the outputs"),
        ("awq", {"shape": (60, 64)}, "AWQ packs eight outputs a word, and it has 60"),
        ("awq", {"conv1d": True}, "it is a Conv1D"),
        ("gptq", {"bits": 5}, "it has 5 bits"),
        ("gptq", {"outliers": True}, "it keeps outliers beside its codes"),
        ("gptq", {"shape": (48, 64)}, "multiples of 32, and it is 48 x 64"),
        ("compressed-tensors", {"conv1d": True}, "it is a Conv1D"),
        ("compressed-tensors", {"kind": "vector"}, "its vector codes are no integers"),
        ("bitsandbytes", {}, "its codes are grouped"),
    ],
)
def test_refusals_say_why(format: str, change: dict[str, object], reason: str) -> None:
    layer = Traits(**{**vars(PLAIN), **change})  # type: ignore[arg-type]
    said = refusal(format, "model.layers.0.mlp.up_proj", layer)
    assert said.startswith(FORMATS[format].title)
    assert "model.layers.0.mlp.up_proj" in said
    assert reason in said
    assert refusal("studio", "x", layer) == refusal("dense", "x", layer) == ""


def test_a_layer_that_is_there_is_judged_as_its_traits_are() -> None:
    layer = by_outputs("", torch.randn(64, 64))
    assert refusal("awq", "x", layer) == refusal("awq", "x", traits(layer)) != ""
    assert refusal("gptq", "x", grouped(4, 32)("", torch.randn(64, 64)), is_conv1d=True) == ""


def test_auto_is_what_loads_in_most_places() -> None:
    asymmetric = Traits("grouped", (64, 64), 4, 32, symmetric=False)
    eight = Traits("grouped", (64, 64), 8, 64)
    assert choose([("a", PLAIN), ("b", eight)]) == "compressed-tensors"
    assert choose([("a", asymmetric), ("b", asymmetric)]) == "compressed-tensors"
    # transformers reads zero points, and several grids, but not both.
    assert choose([("a", asymmetric), ("b", eight)]) == "studio"
    assert (
        choose([("a", PLAIN), ("b", Traits("grouped", (64, 64), 4, 32, conv1d=True))]) == "studio"
    )
