"""Grids, ranges and which layers get which; sampling times."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engines.base import UserError
from engines.quantize.diffusion.layers import Stepped, rounded
from engines.quantize.diffusion.network import common, layers_of, order_of, units_of, widths
from engines.quantize.diffusion.ranges import Seen, coded, input_range, weight_range
from engines.quantize.diffusion.runtime import Runner, Steps
from engines.quantize.diffusion.sampler import skewed_times
from tests.diffusion_models import network


def _layer(steps: int = 3, bits: int = 4) -> Stepped:
    codes = torch.arange(24).reshape(2, 12) % 16
    weight = coded(codes, torch.tensor([[0.5], [0.25]]).half(), None, 4)
    scale = torch.linspace(0.1, 0.3, steps)
    return Stepped(weight, (2, 3, 2, 2), bits, scale, torch.full((steps,), 8, dtype=torch.uint8))


def test_a_layer_comes_back_from_its_tensors() -> None:
    layer = _layer()
    again = Stepped.from_tensors(layer.tensors(), layer.settings())
    assert torch.equal(again.kernel(), layer.kernel())
    assert again.kernel().shape == (2, 3, 2, 2)
    assert layer.kernel()[0, 0, 0, 1] == (1 - 8) * 0.5
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(again.prepare_input(x, 2), layer.prepare_input(x, 2))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_scale", torch.zeros(3)),
        ("input_scale", torch.ones(2)),
        ("scale", torch.ones(2, 2).half()),
    ],
)
def test_a_damaged_layer_is_a_sentence(name: str, value: torch.Tensor) -> None:
    layer = _layer()
    with pytest.raises(UserError):
        Stepped.from_tensors(layer.tensors() | {name: value}, layer.settings())


def test_an_input_is_rounded_to_the_grid_of_its_step() -> None:
    layer, x = _layer(), torch.full((2, 3, 1, 1), 0.27)
    assert layer.prepare_input(x, 0).flatten()[0] == pytest.approx(0.3)
    assert layer.prepare_input(x, 2).flatten()[0] == pytest.approx(0.3)
    both = layer.prepare_input(torch.full((2, 3, 1, 1), 5.0), torch.tensor([0, 2]))
    assert both[:, 0, 0, 0].tolist() == pytest.approx([0.7, 2.1])  # (15 - 8) steps at most
    assert torch.equal(_layer(bits=16).prepare_input(x), x)


def test_a_network_knows_its_step_by_the_timestep() -> None:
    steps = Steps([900, 600, 300, 0])
    assert steps.at(torch.tensor([600, 600])) == 1
    assert steps.at(290) == 2
    found = steps.at(torch.tensor([900, 10]))
    assert isinstance(found, torch.Tensor)
    assert found.tolist() == [0, 3]
    made = network()
    runner = Runner(made, steps.timesteps.tolist())
    made(torch.randn(1, 3, 8, 8), 610, return_dict=False)
    assert runner.steps.index == 1


def test_a_searched_range_is_never_worse_and_cuts_outliers() -> None:
    values = torch.cat([torch.randn(4000), torch.tensor([40.0])])
    seen = Seen(values, float(values.min()), 40.0)

    def error(search: str) -> float:
        scale, zero = input_range(seen, 4, search)  # type: ignore[arg-type]
        made = rounded(values, scale, zero.float(), 4)
        return float((made - values).abs().pow(2.4).mean())

    assert error("power") < 0.8 * error("minmax")
    weight = torch.randn(6, 200)
    weight[0, 0] = 9.0
    for symmetric in (True, False):
        wide, _ = weight_range(weight, 4, symmetric=symmetric, search="minmax")
        narrow, zero = weight_range(weight, 4, symmetric=symmetric)
        assert narrow[0] < wide[0]
        assert (zero is None) is symmetric


def test_edges_keep_eight_bits_and_ways_stay_in_floating_point() -> None:
    made = network()
    order = order_of(made, lambda: made(torch.randn(1, 3, 8, 8), 5))
    assert sorted(order) == sorted(layers_of(made))
    found = widths(made, order, 4, 4, "nothing")
    edges = [name for name, width in found.items() if width.edge]
    assert edges == ["time_embedding.linear_1", "time_embedding.linear_2", "conv_in", "conv_out"]
    assert all(found[name].weight == 8 and found[name].activation == 8 for name in edges)
    kept = set(found) - set(widths(made, order, 4, 4, "ways"))
    assert {name.rpartition(".")[2] for name in kept} == {"conv", "conv_shortcut"}
    assert not any("upsamplers" in name for name in kept)
    assert not any("to_q" in name for name in widths(made, order, 4, 4, "nothing", ["to_q"]))


def test_units_are_blocks_and_hold_every_layer_once() -> None:
    made = network()
    order = order_of(made, lambda: made(torch.randn(1, 3, 8, 8), 5))
    units = units_of(made, dict.fromkeys(order))
    assert sorted(name for unit in units for name in unit) == sorted(order)
    places = [common(unit) for unit in units]
    assert places[0] == "time_embedding"
    assert "down_blocks.0.resnets.0" in places
    assert "mid_block.attentions.0" in places
    assert places[-1] == "conv_out"
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]))
    names = ["0", "1.0", "1.1"]
    assert units_of(plain, dict.fromkeys(names)) == [("0",), ("1.0",), ("1.1",)]


def test_times_are_skewed_and_stay_inside() -> None:
    generator = torch.Generator().manual_seed(0)
    times = skewed_times(20_000, 1000, 0.4, 0.1, generator)
    assert float(times.float().mean()) == pytest.approx(400, abs=5)
    assert float(times.float().std()) == pytest.approx(100, abs=5)
    wide = skewed_times(2000, 1000, 0.4, 0.4, generator)
    assert (int(wide.min()), int(wide.max())) == (0, 999)
