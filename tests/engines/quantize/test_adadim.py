from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from engines.quantize.block import Block
from engines.quantize.layers import Grid, Grouped
from engines.quantize.methods.adadim import AdaDim
from engines.quantize.methods.gptq import Gptq
from engines.quantize.methods.grid import round_weight, squared
from engines.quantize.methods.rtn import Rtn
from tests.engines.quantize.models import ARCHITECTURES, block, expert_block, lone_block
from tests.engines.quantize.test_gptq import output_error

GRID = Grid(3, 32, symmetric=False)


def problem(*, outlier: str) -> Block:
    """One layer; an input channel, an output channel or none has weights ten times as large."""
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 96, generator=random)
    if outlier == "in":
        weight[:, 7::24] *= 10
    if outlier == "out":
        weight[5::16] *= 10
    x = [torch.randn(2, 40, 96, generator=random) for _ in range(3)]
    return lone_block({"a": weight}, x)


def dimension(layers: Block, **settings: str) -> str:
    made = AdaDim(**settings).quantize(layers, dict.fromkeys(layers.linears, GRID))["a"]  # pyright: ignore[reportArgumentType]
    assert isinstance(made, Grouped)
    return made.dim


def error(layers: Block, made: Grouped) -> float:
    return output_error(layers, {"a": made})


@pytest.mark.parametrize("base", ["rtn", "gptq"])
def test_an_outlier_among_inputs_gets_scales_of_its_own(base: str) -> None:
    assert dimension(problem(outlier="in"), base=base) == "out"


@pytest.mark.parametrize("base", ["rtn", "gptq"])
def test_an_outlier_among_outputs_keeps_the_usual_groups(base: str) -> None:
    assert dimension(problem(outlier="out"), base=base) == "in"


@pytest.mark.parametrize("outlier", ["in", "out", "none"])
def test_the_loss_is_the_lower_of_both(outlier: str) -> None:
    layers = problem(outlier=outlier)
    weight = layers.weight("a")
    both = [
        error(layers, round_weight(weight, GRID, dim=dim, cost=squared)) for dim in ("in", "out")
    ]
    made = AdaDim("rtn", tokens=10**6).quantize(layers, {"a": GRID})["a"]
    assert isinstance(made, Grouped)
    assert error(layers, made) == pytest.approx(min(both), rel=1e-5)


def test_gptq_along_the_chosen_dimension_beats_rounding_and_plain_gptq() -> None:
    layers = problem(outlier="in")
    plan = {"a": GRID}
    rounding = output_error(layers, AdaDim("rtn").quantize(layers, plan))
    plain = output_error(layers, Gptq().quantize(layers, plan))
    both = output_error(layers, AdaDim("gptq").quantize(layers, plan))
    assert both < rounding
    assert both < 0.6 * plain


def test_equal_losses_leave_the_usual_groups() -> None:
    weight = torch.ones(32, 32)
    layers = lone_block({"a": weight}, [torch.ones(1, 8, 32)])
    assert dimension(layers, base="rtn") == "in"


def test_later_layers_are_judged_with_the_earlier_ones_rounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = block("llama")
    seen: dict[str, list[Tensor]] = {path: [] for path in layers.linears}
    better = AdaDim._better

    def watch(self: AdaDim, where: Block, path: str, *rest: Any) -> Grouped:
        for other in layers.linears:
            seen[other].append(layers.weight(other).clone())
        return better(self, where, path, *rest)

    monkeypatch.setattr(AdaDim, "_better", watch)
    before = {path: layers.weight(path).clone() for path in layers.linears}
    made = AdaDim("rtn").quantize(layers, dict.fromkeys(layers.linears, GRID))
    for place, path in enumerate(made):
        for late, state in enumerate(seen[path]):
            expected = made[path].dequantize() if late > place else before[path]
            assert torch.equal(state, expected)
        assert torch.equal(layers.weight(path), before[path])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name: str) -> None:
    layers = block(name)
    plan = dict.fromkeys(layers.linears, GRID)
    plain = output_error(layers, Rtn().quantize(layers, plan))
    made = AdaDim().quantize(layers, plan)
    assert sorted(made) == sorted(layers.linears)
    assert output_error(layers, made) < 0.9 * plain


@pytest.mark.parametrize("base", ["rtn", "gptq"])
def test_an_expert_without_tokens_has_the_usual_groups(base: str) -> None:
    experts = expert_block()
    method = AdaDim("rtn" if base == "rtn" else "gptq")
    made = method.quantize(experts, dict.fromkeys(experts.linears, GRID))
    layer = made["experts.1.up"]
    assert isinstance(layer, Grouped)
    plain = round_weight(experts.weight("experts.1.up"), GRID, cost=squared)
    assert torch.equal(layer.dequantize(), plain.dequantize())
    assert any("experts.1.up" in note for note in experts.notes)
