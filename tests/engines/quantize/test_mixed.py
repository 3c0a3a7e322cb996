"""Bits by layer: the knapsack against trying everything, and the predicted cost."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from engines.quantize.export import FORMATS, choose, refusal, traits
from engines.quantize.layers import Grid
from engines.quantize.methods.grid import round_weight, rounded
from engines.quantize.mixed import Option, costs, front, stored_bits
from engines.quantize.params import Export
from engines.quantize.plan import Search, keeps


def options(seed: int, layers: int = 5) -> dict[str, tuple[Option, ...]]:
    random = np.random.default_rng(seed)
    found: dict[str, tuple[Option, ...]] = {}
    for number in range(layers):
        weights = int(random.integers(1, 6)) * 1024
        cost = np.sort(random.random(3))[::-1]
        found[f"layer{number}"] = tuple(
            Option(Grid(bits, 0), bits * weights, float(c))
            for bits, c in zip((2, 4, 8), cost, strict=True)
        )
    return found


@pytest.mark.parametrize("seed", range(6))
def test_for_every_size_it_is_the_best_of_all_assignments(seed: int) -> None:
    given = options(seed)
    every = [
        (sum(one.size for one in chosen), sum(one.cost for one in chosen))
        for chosen in product(*given.values())
    ]
    found = front(given)
    for budget in np.linspace(min(e[0] for e in every), max(e[0] for e in every), 40):
        best = min(cost for size, cost in every if size <= budget)
        place = found.within(budget)
        assert found.costs[place] == pytest.approx(best)
        grids = found.grids(place)
        chosen = [next(o for o in given[name] if o.grid == grids[name]) for name in given]
        assert sum(one.size for one in chosen) == found.sizes[place] <= budget
        assert sum(one.cost for one in chosen) == pytest.approx(best)


def test_a_budget_below_the_smallest() -> None:
    assert front(options(1)).within(1.0) == -1


def test_the_smallest_that_costs_at_most_so_much() -> None:
    found = front(options(2))
    for place in range(1, len(found.costs)):
        assert found.below(float(found.costs[place])) == place
    assert found.below(0.0) == len(found.costs) - 1


def test_a_mixture_is_never_worse_than_one_width_for_all() -> None:
    given = options(3, layers=8)
    found = front(given)
    for number in range(3):
        size = sum(o[number].size for o in given.values())
        assert found.costs[found.within(size)] <= sum(o[number].cost for o in given.values())


def test_cost_is_the_quadratic_form_of_the_outputs_gradient() -> None:
    torch.manual_seed(0)
    weight, x, g = torch.randn(8, 32), torch.randn(50, 32), torch.randn(50, 8)
    grid = Grid(3, 0, symmetric=False)
    change = rounded(weight, grid) - weight
    expected = 0.5 * torch.einsum("ti,oi,to->t", x, change, g).square().mean()
    assert float(costs(weight, x, g, [grid])[0]) == pytest.approx(float(expected), rel=1e-4)


def test_fewer_bits_cost_more() -> None:
    torch.manual_seed(0)
    weight, x, g = torch.randn(64, 64), torch.randn(200, 64), torch.randn(200, 64)
    found = costs(weight, x, g, [Grid(bits, 32) for bits in (2, 3, 4, 8)])
    assert (found[:-1] > 3 * found[1:]).all()


def test_stored_bits_count_scales_and_zero_points() -> None:
    assert stored_bits((64, 128), Grid(4, 32)) == 64 * 128 * 4 + 64 * 4 * 16
    grid = Grid(4, 64, symmetric=False)
    assert stored_bits((64, 576), grid, export="studio") == 64 * (576 * 4 + 9 * 16 + 64)
    assert stored_bits((64, 576), grid, export="gptq") == 64 * (576 * 4 + 9 * 16 + 36) + 32 * 576


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("shape", [(64, 576), (96, 160), (192, 576)])
@pytest.mark.parametrize("export", ["auto", "studio", "compressed-tensors", "gptq", "awq"])
def test_no_export_takes_more_than_was_planned(
    export: Export, shape: tuple[int, int], bits: int, symmetric: bool
) -> None:
    grid = Grid(bits, 64, symmetric)
    for dim in ("in", "out"):
        layer = round_weight(torch.randn(shape), grid, dim=dim)
        planned = stored_bits(shape, grid, export=export, dims=("in", dim))
        known = {"layer": traits(layer)}
        names = ("studio", choose(known.items())) if export == "auto" else (export,)
        for name in names:
            if not refusal(name, "layer", layer):
                packed = FORMATS[name](known).pack("layer", layer)
                packed.pop("weight_shape", None)  # two numbers a layer
                held = sum(8 * part.numel() * part.element_size() for part in packed.values())
                assert held <= planned <= 1.2 * held


def test_a_search_learns_from_what_was_measured() -> None:
    search = Search.up_to(10.0)
    assert search.allowed == pytest.approx(np.log(1.1))
    halved = search.learn(predicted=0.1, measured=0.05)
    found = front(options(4))
    assert halved.place(found) <= search.place(found)


def test_layers_to_keep() -> None:
    kept = keeps("o_proj, layers.0.")
    assert kept("model.layers.3.self_attn.o_proj")
    assert kept("model.layers.0.mlp.up_proj")
    assert not kept("model.layers.10.mlp.up_proj")
    assert not keeps("")("anything")
