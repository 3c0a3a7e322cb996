from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engines.quantize.layers import Dim, Grid, Grouped
from engines.quantize.methods import grid as grids
from engines.quantize.methods.grid import correlated, note_groups, round_weight, squared, weighed
from engines.quantize.methods.rtn import Rtn
from tests.engines.quantize.models import block, lone_block

BITS = (2, 3, 4, 8)


def weights(rows: int = 24, columns: int = 64, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=random) + 0.3


def zero_of(layer: Grouped) -> Tensor:
    if layer.zero is None:
        return torch.full(layer.scale.shape, 2.0 ** (layer.bit_width - 1))
    return layer.zero.float()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("searched", [True, False])
def test_codes_are_the_nearest_under_the_stored_scales(
    bits: int, symmetric: bool, searched: bool
) -> None:
    weight = weights()
    layer = round_weight(weight, Grid(bits, 16, symmetric), cost=squared if searched else None)
    scale = layer.scale.float().repeat_interleave(16, 1)
    every = torch.arange(2**bits).view(-1, 1, 1)
    possible = (every - zero_of(layer).repeat_interleave(16, 1)) * scale
    nearest = (possible - weight).abs().amin(0)
    assert layer.scale.dtype == torch.float16
    assert int(layer.codes.max()) < 2**bits
    torch.testing.assert_close((layer.dequantize() - weight).abs(), nearest)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dim", ["in", "out"])
def test_no_weight_is_off_by_more_than_half_a_step(bits: int, symmetric: bool, dim: Dim) -> None:
    weight = weights(32, 64)
    layer = round_weight(weight, Grid(bits, 16, symmetric), dim=dim)
    lines = weight if dim == "in" else weight.T
    made = layer.dequantize() if dim == "in" else layer.dequantize().T
    groups = lines.unflatten(1, (-1, 16))
    low, high = groups.amin(-1).clamp_max(0), groups.amax(-1).clamp_min(0)
    reach = torch.maximum(-low, high)
    step = reach / (2 ** (bits - 1) - 1) if symmetric else (high - low) / (2**bits - 1)
    off = (made - lines).abs().unflatten(1, (-1, 16)).amax(-1)
    # Float16 scales and a whole zero point take a little more at the ends of an asymmetric range.
    assert (off <= (0.5 if symmetric else 1.0) * step * 1.01).all()
    assert layer.scale.shape == groups.shape[:2]


def test_a_group_on_one_side_of_zero_keeps_its_size() -> None:
    weight = 5 + 0.1 * torch.rand(4, 32)
    layer = round_weight(weight, Grid(4, 32, symmetric=False))
    assert (layer.dequantize() - weight).abs().max() < 5.1 / 15


def test_groups_of_zeros_and_of_tiny_weights_stay_finite() -> None:
    weight = torch.zeros(2, 16)
    weight[1] = 1e-8
    for symmetric in (True, False):
        for bits in BITS:
            made = round_weight(weight, Grid(bits, 16, symmetric)).dequantize()
            assert made.abs().max() < 1e-6


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_quick_way_gives_the_same_numbers(symmetric: bool) -> None:
    plan = Grid(3, 32, symmetric)
    expected = round_weight(weights(), plan).dequantize()
    torch.testing.assert_close(grids.rounded(weights(), plan), expected, rtol=0, atol=0)


def test_groups_along_outputs_are_those_of_the_transpose() -> None:
    plan = Grid(4, 8, symmetric=False)
    along_out = round_weight(weights(), plan, dim="out")
    along_in = round_weight(weights().T.contiguous(), plan)
    assert along_out.shape == (24, 64)
    torch.testing.assert_close(along_out.dequantize(), along_in.dequantize().T, rtol=0, atol=0)


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Grid(4, 16, symmetric=False)
    whole = round_weight(weights(), plan, cost=squared)
    monkeypatch.setattr(grids, "_TILE_WEIGHTS", 5 * 64)
    tiled = round_weight(weights(), plan, cost=squared)
    assert torch.equal(whole.codes, tiled.codes)
    assert torch.equal(whole.scale, tiled.scale)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_searched_ranges_are_never_worse_in_what_they_are_searched_by(
    bits: int, symmetric: bool
) -> None:
    weight, plan = weights(), Grid(bits, 16, symmetric)
    random = torch.Generator().manual_seed(1)
    importance = torch.rand(64, generator=random) ** 4
    roots = torch.randn(4, 16, 40, generator=random)
    for cost in (squared, weighed(importance, 16), correlated(roots @ roots.transpose(1, 2))):
        searched, plain = (
            cost(
                (round_weight(weight, plan, cost=one).dequantize() - weight).unflatten(1, (-1, 16))
            )
            for one in (cost, None)
        )
        assert (searched <= plain * (1 + 1e-5) + 1e-9).all()
        if bits < 8:
            assert searched.sum() < plain.sum()


def test_the_correlated_cost_is_the_squared_error_of_the_output() -> None:
    random = torch.Generator().manual_seed(1)
    change, x = torch.randn(5, 2, 8, generator=random), torch.randn(30, 16, generator=random)
    by_group = x.unflatten(1, (2, 8)).transpose(0, 1)
    outputs = torch.einsum("rng,ntg->rnt", change, by_group)
    gram = by_group.transpose(1, 2) @ by_group
    torch.testing.assert_close(correlated(gram)(change.clone()), outputs.square().sum(-1))


def test_groups_that_do_not_fit_give_way_and_are_told() -> None:
    layers = lone_block({"a": torch.randn(8, 72), "b": torch.randn(8, 30)}, [])
    plan = {"a": Grid(4, 128), "b": Grid(4, 16)}
    made = Rtn().quantize(layers, plan)
    assert [layer.settings()["group_size"] for layer in made.values()] == [8, 30]
    assert len(layers.notes) == 2
    assert "rows of 72 weights; groups of 8" in layers.notes[0]
    fits = lone_block({"a": torch.randn(8, 72)}, [])
    Rtn().quantize(fits, {"a": Grid(4, 0)})
    assert not fits.notes


def test_conv1d_is_read_as_outputs_by_inputs() -> None:
    gpt2 = block("gpt2", chunks=0)
    layer = Rtn().quantize(gpt2, {"attn.c_attn": Grid(8, 32)})["attn.c_attn"]
    assert layer.shape == (192, 64)
    stored = gpt2.linear("attn.c_attn").weight
    assert isinstance(stored, Tensor)
    torch.testing.assert_close(layer.dequantize().T, stored.detach(), rtol=0, atol=0.01)


def test_note_groups_says_a_sentence_once() -> None:
    layers = lone_block({"a": torch.randn(8, 72), "b": torch.randn(8, 72)}, [])
    note_groups(layers, {"a": Grid(4, 128), "b": Grid(4, 128)})
    assert len(layers.notes) == 1
