from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from engines.base import Cancelled
from engines.quantize.block import Block
from engines.quantize.layers import Dim, Grid, QuantizedLayer
from engines.quantize.methods.curvature import Curvature, curvatures, factor, hessians
from engines.quantize.methods.gptq import Gptq, gptq, gptq_grouped
from engines.quantize.methods.grid import round_weight, rounded
from engines.quantize.methods.parts import find_parts, inspected, sample
from engines.quantize.methods.rtn import Rtn
from tests.engines.quantize.models import ARCHITECTURES, block, expert_block, lone_block


def inputs(columns: int, tokens: int = 512, seed: int = 0) -> Tensor:
    """(tokens, columns) correlated, a few channels much larger than the others."""
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(columns, columns, generator=random) / torch.arange(1, columns + 1)[:, None]
    x = torch.randn(tokens, columns, generator=random) @ mix
    x = x + 0.1 * torch.randn(x.shape, generator=random)
    x[:, ::17] *= 8
    return x


def weights(rows: int, columns: int, seed: int = 1) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def known(hessian: Tensor, *, act_order: bool = True) -> Curvature:
    found = factor(hessian, act_order=act_order)
    assert found is not None
    return found


def proxy(change: Tensor, hessian: Tensor) -> float:
    """tr(dW H dW^T), what GPTQ minimises."""
    return float(((change @ hessian) * change).sum())


def output_error(layers: Block, made: Mapping[str, QuantizedLayer]) -> float:
    with torch.no_grad(), layers.restored(made):
        wanted = list(layers.outputs())
        for path, layer in made.items():
            layers.weight(path).copy_(layer.dequantize())
        return sum(
            float((a - b).square().sum()) for a, b in zip(wanted, layers.outputs(), strict=True)
        )


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("act_order", [True, False])
def test_the_proxy_error_is_far_below_that_of_rounding(
    bits: int, symmetric: bool, act_order: bool
) -> None:
    weight, x = weights(48, 96), inputs(96)
    hessian, plan = 2 * x.T @ x / len(x), Grid(bits, 32, symmetric)
    made = gptq_grouped(weight, known(hessian, act_order=act_order), plan)
    plain = round_weight(weight, plan)
    assert proxy(made.dequantize() - weight, hessian) < 0.6 * proxy(
        plain.dequantize() - weight, hessian
    )


def test_it_is_the_published_algorithm() -> None:
    """Columns one by one, each error pushed into all later columns at once."""
    weight, x = weights(8, 300), inputs(300, 900)
    hessian, plan = 2 * x.T @ x / len(x), Grid(3, 30, symmetric=False)
    curvature = known(hessian)
    left = weight[:, curvature.order].double()
    upper = curvature.upper.double()
    scale, zero = (round_weight(weight, plan).scale.double(), round_weight(weight, plan).zero)
    assert zero is not None
    expected = torch.empty_like(left)
    for place, number in enumerate(curvature.order.tolist()):
        s, z = scale[:, number // 30], zero[:, number // 30]
        expected[:, number] = ((left[:, place] / s).round() + z).clamp(0, 7).sub(z) * s
        error = (left[:, place] - expected[:, number]) / upper[place, place]
        left[:, place:] -= error[:, None] * upper[place, place:]
    made = gptq_grouped(weight, curvature, plan).dequantize()
    # A code may fall on the other side of a threshold in float32, hardly ever.
    assert (made.double() - expected).abs().gt(1e-3).float().mean() < 0.02


@pytest.mark.parametrize("act_order", [True, False])
def test_the_factor_is_that_of_the_inverse(act_order: bool) -> None:
    x = inputs(40)
    hessian = 2 * x.T @ x / len(x)
    curvature = known(hessian, act_order=act_order)
    order = curvature.order
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(40)
    inverse = damped.double().inverse()[order][:, order].float()
    torch.testing.assert_close(curvature.upper.T @ curvature.upper, inverse, rtol=1e-3, atol=1e-4)
    assert torch.equal(curvature.upper, curvature.upper.triu())
    if act_order:
        assert (hessian.diagonal()[order].diff() <= 0).all()


def test_inputs_that_do_not_hang_together_leave_plain_rounding() -> None:
    weight, plan = weights(8, 64), Grid(3, 16)
    made = gptq_grouped(weight, known(torch.rand(64).diag()), plan)
    torch.testing.assert_close(made.dequantize(), rounded(weight, plan), rtol=0, atol=0)


@pytest.mark.parametrize("dim", ["in", "out"])
def test_what_is_stored_is_what_was_rounded(dim: Dim) -> None:
    weight, x = weights(32, 64), inputs(64)
    curvature, plan = known(x.T @ x), Grid(3, 16, symmetric=False)
    seen: dict[int, Tensor] = {}

    def keep(number: int, column: Tensor) -> Tensor:
        seen[number] = column.clone()
        return column.round()

    made = gptq(weight, curvature, keep)
    assert sorted(seen) == list(range(64))
    for number, column in seen.items():
        assert torch.equal(made[:, number], column.round())
    layer = gptq_grouped(weight, curvature, plan, dim=dim)
    assert layer.dim == dim
    # Groups are contiguous whatever the order of columns was.
    assert layer.scale.shape == ((32, 4) if dim == "in" else (64, 2))
    plain = round_weight(weight, plan, dim=dim).dequantize()
    hessian = x.T @ x
    assert proxy(layer.dequantize() - weight, hessian) < proxy(plain - weight, hessian)


def test_searched_ranges_help() -> None:
    weight, x = weights(48, 96), inputs(96)
    hessian, plan = x.T @ x, Grid(2, 32)
    plain, searched = (
        proxy(gptq_grouped(weight, known(hessian), plan, search=s).dequantize() - weight, hessian)
        for s in ("minmax", "mse")
    )
    assert searched < 0.7 * plain


def test_a_column_that_no_token_reaches_is_rounded_alone() -> None:
    weight, x = weights(16, 64), inputs(64)
    x[:, 5] = 0
    plan = Grid(4, 16)
    made = gptq_grouped(weight, known(x.T @ x), plan).dequantize()
    torch.testing.assert_close(made[:, 5], rounded(weight, plan)[:, 5], rtol=0, atol=0)


def test_fewer_tokens_than_inputs_are_enough() -> None:
    weight, x = weights(16, 96), inputs(96, tokens=3)
    made = gptq_grouped(weight, known(x.T @ x), Grid(4, 32)).dequantize()
    assert made.isfinite().all()
    exact = x @ weight.T
    plain = rounded(weight, Grid(4, 32))
    assert (x @ made.T - exact).norm() < (x @ plain.T - exact).norm()


def test_damping_rises_until_the_factor_exists() -> None:
    hessian = torch.eye(8)
    hessian[0, 1] = hessian[1, 0] = 1.05  # not positive definite by 0.05
    assert factor(hessian, damping=0.001) is not None
    assert factor(hessian - 3 * torch.eye(8)) is None


def test_hessians_are_means_over_all_tokens_and_shared_by_layers_with_one_input() -> None:
    llama = block("llama", chunks=3)
    seen: dict[str, list[Tensor]] = {path: [] for path in llama.linears}
    llama.sweep(llama.linears, lambda path, x: seen[path].append(x))
    found = hessians(llama, llama.linears)
    for path in llama.linears:
        x = torch.cat(seen[path])
        assert len(x) == 3 * 2 * 32
        torch.testing.assert_close(found[path], 2 * x.T @ x / len(x), rtol=1e-4, atol=1e-5)
    assert found["self_attn.q_proj"] is found["self_attn.v_proj"]
    assert found["mlp.gate_proj"] is found["mlp.up_proj"]
    assert found["self_attn.q_proj"] is not found["mlp.up_proj"]


def test_a_sequential_pass_sees_what_was_written_back() -> None:
    llama = block("llama")
    exact = dict(hessians(llama, llama.linears))
    seen: dict[str, Curvature] = {}
    with llama.restored(llama.linears):
        for path, curvature in curvatures(llama, llama.linears, sequential=True):
            assert curvature is not None
            seen[path] = curvature
            if path == "self_attn.v_proj":
                llama.weight(path).mul_(0.5)
    order = list(seen)
    assert order.index("self_attn.v_proj") < order.index("self_attn.o_proj")
    assert order.index("mlp.up_proj") < order.index("mlp.down_proj")
    for path, factor_of_two in (("self_attn.q_proj", 1.0), ("self_attn.o_proj", 0.25)):
        expected = exact[path].diagonal() * factor_of_two
        torch.testing.assert_close(seen[path].diagonal, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name: str) -> None:
    layers = block(name)
    before = {path: layers.weight(path).clone() for path in layers.linears}
    plan = {path: Grid(3, 32, symmetric=False) for path in layers.linears}
    made = Gptq().quantize(layers, plan)
    assert set(made) == set(layers.linears)
    for path, weight in before.items():
        assert torch.equal(layers.weight(path), weight)
        assert made[path].shape == tuple(weight.shape)
    plain = Rtn().quantize(layers, plan)
    assert output_error(layers, made) < 0.8 * output_error(layers, plain)


def test_layers_may_have_different_grids_or_none() -> None:
    llama = block("llama")
    plan = {"self_attn.q_proj": Grid(2, 16), "self_attn.k_proj": Grid(8, 0, symmetric=False)}
    made = Gptq(sequential=True).quantize(llama, plan)
    assert {path: layer.settings()["bits"] for path, layer in made.items()} == {
        "self_attn.q_proj": 2,
        "self_attn.k_proj": 8,
    }


def test_an_expert_without_tokens_is_rounded_to_nearest_and_named() -> None:
    experts = expert_block()
    plan = {path: Grid(4, 32) for path in experts.linears}
    made = Gptq(search="minmax").quantize(experts, plan)
    for path in experts.linears:
        plain = rounded(experts.weight(path), plan[path])
        assert torch.equal(made[path].dequantize(), plain) == path.startswith("experts.1")
    assert len(experts.notes) == 2
    assert "layers.0.experts.1.up was rounded to nearest" in experts.notes[0]


def test_inputs_that_are_no_numbers_are_noted() -> None:
    layers = lone_block({"a": torch.randn(8, 16)}, [torch.full((1, 4, 16), torch.nan)])
    made = Gptq(search="minmax").quantize(layers, {"a": Grid(4, 16)})
    assert torch.equal(made["a"].dequantize(), rounded(layers.weight("a"), Grid(4, 16)))
    assert "could not be used" in layers.notes[0]


def test_a_cancelled_job_stops() -> None:
    llama = block("llama")

    def stop() -> None:
        raise Cancelled

    llama.check = stop
    with pytest.raises(Cancelled):
        Gptq().quantize(llama, {path: Grid(4, 32) for path in llama.linears})


def test_parts_are_what_reads_one_tensor() -> None:
    parts = {
        name: [part.paths for part in find_parts(block(name, chunks=1))]
        for name in ("llama", "phi")
    }
    assert parts["llama"] == [
        ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        ("self_attn.o_proj",),
        ("mlp.gate_proj", "mlp.up_proj"),
        ("mlp.down_proj",),
    ]
    assert parts["phi"][0] == (
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.fc1",
    )  # fmt: skip


def test_the_inspected_module_holds_the_whole_part() -> None:
    llama = block("llama", chunks=1)
    assert inspected(llama, ("self_attn.q_proj", "self_attn.v_proj")) == "self_attn"
    assert inspected(llama, ("mlp.gate_proj", "mlp.up_proj")) == "mlp"
    assert inspected(llama, ("mlp.down_proj",)) == "mlp.down_proj"
    assert inspected(llama, ("self_attn.q_proj", "mlp.up_proj")) == ""


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_sample_is_the_first_rows_of_calls_far_apart(name: str) -> None:
    layers = block(name, chunks=4, batch=4, length=16)
    whole = list(layers.outputs())
    for tokens, rows in ((1, [1]), (32, [1, 1]), (100, [2, 2, 2, 2]), (10**6, [4] * 4)):
        few = sample(layers, tokens)
        made = list(few.outputs())
        assert [len(one) for one in made] == rows
        places = [0, 2] if len(rows) == 2 else range(len(rows))
        for place, one in zip(places, made, strict=True):
            torch.testing.assert_close(one, whole[place][: len(one)], rtol=1e-4, atol=1e-4)
