from __future__ import annotations

from math import ceil

import pytest
import torch
from torch import Tensor

from engines.quantize.layers import Grid, Grouped
from engines.quantize.methods.grid import round_weight
from engines.quantize.methods.gwq import Gwq, Mask, top_places, without
from tests.engines.quantize.models import ARCHITECTURES, block, lone_block

GRID = Grid(3, 32, symmetric=False)


def random_like(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def quantized(weight: Tensor, gradient: Tensor, method: Gwq, grid: Grid = GRID) -> Grouped:
    found = {"a": method.see_gradient(weight, gradient)}
    layers = lone_block({"a": weight}, [])
    layers.found = found
    layer = method.quantize(layers, {"a": grid})["a"]
    assert isinstance(layer, Grouped)
    return layer


@pytest.mark.parametrize("share", [0.01, 0.003, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(10, 96), (7, 100), (1, 32)])
def test_exactly_the_share_is_kept_and_kept_in_float16(
    share: float, shape: tuple[int, int]
) -> None:
    weight, gradient = random_like(shape, 0), random_like(shape, 1)
    layer = quantized(weight, gradient, Gwq(share))
    wanted = ceil(round(share * weight.numel(), 6))
    assert layer.outliers is not None
    assert len(layer.outliers.value) == wanted
    largest = gradient.abs().flatten().topk(wanted).indices.sort().values
    made = layer.dequantize().flatten()
    assert torch.equal(made[largest], weight.half().float().flatten()[largest])
    places = layer.outliers.rows * shape[1] + layer.outliers.column
    assert torch.equal(places, largest)


def test_ties_do_not_change_the_number() -> None:
    score = torch.ones(10, 10)
    score[4, 2] = 2
    assert top_places(score, 0.05).tolist() == [0, 1, 2, 3, 42]
    assert top_places(score, 0.0).tolist() == []


def test_outliers_do_not_widen_the_range_of_their_group() -> None:
    weight = random_like((16, 96), 0)
    gradient = torch.rand(16, 96)
    planted = torch.tensor([5, 200, 777, 1000])
    weight.view(-1)[planted] = 50.0
    gradient.view(-1)[planted] = 100.0
    layer = quantized(weight, gradient, Gwq(4 / weight.numel(), search="minmax"))
    rest = torch.ones(weight.numel(), dtype=torch.bool)
    rest[planted] = False
    change = (layer.dequantize() - weight).flatten()
    assert torch.equal(layer.dequantize().flatten()[planted], torch.full((4,), 50.0))
    without_them = round_weight(
        without(weight, planted, 32), GRID
    ).dequantize().flatten() - weight.flatten()  # fmt: skip
    assert torch.equal(change[rest], without_them[rest])
    plain = (round_weight(weight, GRID).dequantize() - weight).flatten()
    assert change[rest].norm() < 0.7 * plain[rest].norm()


def test_their_places_hold_the_mean_of_the_rest_of_the_group() -> None:
    weight = torch.tensor([[1.0, 2.0, 6.0, 99.0], [7.0, 7.0, 7.0, 7.0]])
    filled = without(weight, torch.tensor([3, 4, 5, 6, 7]), 4)
    assert filled.tolist() == [[1.0, 2.0, 6.0, 3.0], [0.0, 0.0, 0.0, 0.0]]


def test_a_gradient_knows_better_than_magnitude_or_chance() -> None:
    """Measured by the loss's own first-order change, sum of (gradient * change)^2."""
    weight, gradient = random_like((32, 96), 0), random_like((32, 96), 1) ** 5
    losses: dict[Mask, float] = {}
    masks: tuple[Mask, ...] = ("gradient", "gradient x weight", "magnitude", "random")
    for mask in masks:
        layer = quantized(weight, gradient, Gwq(0.02, mask))
        losses[mask] = float((gradient * (layer.dequantize() - weight)).square().sum())
    assert losses["gradient"] < 0.2 * losses["magnitude"]
    assert losses["gradient"] < 0.2 * losses["random"]
    assert losses["gradient x weight"] < losses["magnitude"]


def test_masks_need_what_they_say() -> None:
    assert Gwq().uses == "gradients"
    assert Gwq(mask="gradient x weight").uses == "gradients"


def test_a_random_mask_is_another_for_every_layer_and_seed_and_never_changes() -> None:
    def kept(seed: int, path: str) -> list[int]:
        layers = lone_block({"a": torch.ones(20, 32), "b": torch.ones(20, 32)}, [])
        layer = Gwq(mask="random", seed=seed).quantize(layers, {path: GRID})[path]
        assert isinstance(layer, Grouped)
        assert layer.outliers is not None
        return (layer.outliers.rows * 32 + layer.outliers.column).tolist()

    assert kept(0, "a") == kept(0, "a")
    assert kept(0, "a") != kept(0, "b")
    assert kept(0, "a") != kept(1, "a")


def test_a_broken_gradient_is_no_outlier() -> None:
    gradient = torch.ones(4, 25)
    gradient[0, 0] = torch.nan
    gradient[1, 1] = 3
    assert Gwq(0.01).see_gradient(torch.ones(4, 25), gradient).tolist() == [26]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name: str) -> None:
    layers = block(name, chunks=0)
    method = Gwq()
    layers.found = {
        path: method.see_gradient(layers.weight(path), random_like(layers.weight(path).shape, 3))
        for path in layers.linears
    }
    made = method.quantize(layers, dict.fromkeys(layers.linears, GRID))
    for path, layer in made.items():
        places = layers.found[path]
        exact = layers.weight(path).reshape(-1)[places]
        assert torch.equal(layer.dequantize().reshape(-1)[places], exact.half().float())


def test_a_layer_without_a_gradient_keeps_no_outliers_and_is_named() -> None:
    layers = lone_block({"a": torch.randn(8, 32)}, [])
    layer = Gwq().quantize(layers, {"a": GRID})["a"]
    assert isinstance(layer, Grouped)
    assert layer.outliers is None
    assert "layers.0.a keeps no outliers" in layers.notes[0]
