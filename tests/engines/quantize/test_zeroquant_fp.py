from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from engines.base import Cancelled, UserError
from engines.quantize.floating import Activations, Floating, LowRank, Scales
from engines.quantize.kinds import layer_kind
from engines.quantize.layers import Grid
from engines.quantize.methods.curvature import Curvature, factor
from engines.quantize.methods.lorc import thin_factors
from engines.quantize.methods.zeroquant_fp import Constraint, ZeroQuantFp, fit_scales
from kernels.float_codes import E2M1, E4M3FN, FORMATS, encode, table
from tests.engines.quantize.models import ARCHITECTURES, block, lone_block

CONSTRAINTS = get_args(Constraint)


def uneven(rows: int, columns: int) -> Tensor:
    """Weights whose groups differ in size by more than a power of two."""
    return torch.randn(rows, columns) * torch.rand(rows, columns // 16, 1).exp2().pow(3).expand(
        rows, columns // 16, 16
    ).reshape(rows, columns)


def correlated(columns: int, tokens: int = 512) -> Tensor:
    return torch.randn(tokens, columns) @ (torch.randn(columns, columns) / 4 + torch.eye(columns))


def curvature_of(x: Tensor) -> Curvature:
    found = factor(2 / len(x) * x.T @ x)
    assert found is not None
    return found


def rounded(weight: Tensor, scales: Scales, group: int) -> Tensor:
    groups = weight.unflatten(1, (-1, group)) / scales.values().unsqueeze(-1)
    return Floating(encode(groups, E2M1).flatten(1), E2M1, scales, group).dequantize()


def test_every_code_stands_for_its_number() -> None:
    codes = torch.arange(16, dtype=torch.uint8).repeat(2, 2)
    layer = Floating(codes, E2M1, Scales(torch.tensor([[1.0], [0.5]]).half()), 32)
    again = Floating.from_tensors(layer.tensors(), layer.settings()).dequantize()
    numbers = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    wanted = torch.cat([numbers, -numbers]).repeat(2)
    assert torch.equal(again, torch.stack([wanted, wanted / 2]))
    assert torch.equal(encode(table(E2M1), E2M1), torch.arange(16, dtype=torch.uint8))


@pytest.mark.parametrize("search", [False, True])
@pytest.mark.parametrize("constraint", ["m1", "m2"])
def test_scales_are_powers_of_two_apart(constraint: Constraint, search: bool) -> None:
    scales = fit_scales(uneven(32, 128), E2M1, 16, constraint, search=search).values()
    ratio = (scales / scales[:, :1]).log2()
    assert torch.equal(ratio, ratio.round())
    assert ratio.unique().numel() > 2
    power = scales.log2()
    assert torch.equal(power, power.round()) == (constraint == "m1")


def test_of_both_powers_the_better_one_is_taken() -> None:
    weight = uneven(64, 128)
    chosen = fit_scales(weight, E2M1, 16, "m2")
    assert chosen.shift is not None
    own = weight.unflatten(1, (-1, 16)).abs().amax(-1) / 6
    wanted = (chosen.row.float() / own).log2()
    down, up = wanted.floor().clamp_min(0), wanted.ceil().clamp_min(0)
    assert ((chosen.shift == down) | (chosen.shift == up)).all()

    def errors(shift: Tensor) -> Tensor:
        error = rounded(weight, Scales(chosen.row, shift.to(torch.uint8)), 16) - weight
        return error.square().unflatten(1, (-1, 16)).sum(-1)

    torch.testing.assert_close(errors(chosen.shift), torch.minimum(errors(down), errors(up)))
    assert (chosen.shift == up).any()
    assert (chosen.shift == down).any()


def test_what_constraints_cost() -> None:
    weight = uneven(64, 256)
    free, m1, m2, found = (
        float((rounded(weight, scales, 16) - weight).square().sum())
        for scales in (
            *(fit_scales(weight, E2M1, 16, constraint) for constraint in CONSTRAINTS),
            fit_scales(weight, E2M1, 16, "m2", search=True),
        )
    )
    assert free < m2 < m1 * 1.05
    assert found < m2


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
def test_every_format_within_half_a_step(form: object) -> None:
    assert isinstance(form, type(E2M1))
    weight = torch.randn(16, 64) * 1e-3  # small, as weights are: scales must not vanish
    layer = ZeroQuantFp(rank=0, activations=None, four="E3M0", eight="E5M2")
    if form.name in ("E2M1", "E4M3FN"):
        layer = ZeroQuantFp(rank=0, activations=None)
    lone = lone_block({"a": weight}, [])
    made = layer.quantize(lone, {"a": Grid(form.bits, 32)})["a"]
    assert made.settings()["format"] == form.name
    share = {"E2M1": 0.25, "E3M0": 0.34, "E4M3FN": 0.0625, "E5M2": 0.125}[form.name]
    error = (made.dequantize() - weight).abs()
    # Relative half a step, or half of the smallest number beside 0, or cut at the range's end.
    assert (
        error <= share * weight.abs() + weight.abs().amax() / form.largest
    ).float().mean() > 0.95
    assert (error.square().mean() / weight.square().mean()).sqrt() < share


def test_low_rank_error_is_the_tail_of_the_singular_values() -> None:
    error = torch.randn(24, 40)
    sizes = torch.linalg.svdvals(error)
    for rank in (0, 1, 3, 8, 24):
        left, right = thin_factors(error, rank)
        assert left.shape == (24, rank)
        assert right.shape == (rank, 40)
        tail = sizes[rank:].square().sum().sqrt()
        torch.testing.assert_close((error - left @ right).norm(), tail, atol=1e-4, rtol=1e-4)
    stored = [
        float((error - LowRank.stored(*thin_factors(error, 8), int8=int8).product()).norm())
        for int8 in (False, True)
    ]
    assert stored[0] == pytest.approx(float(sizes[8:].norm()), rel=1e-3)
    assert stored[1] == pytest.approx(float(sizes[8:].norm()), rel=0.02)


def test_low_rank_of_the_output_is_the_best_for_the_output() -> None:
    x, error = correlated(40), torch.randn(24, 40)
    found = curvature_of(x)
    plain, weighed = (
        float((x @ (error - left @ right).T).norm())
        for left, right in (thin_factors(error, 6), thin_factors(error, 6, found))
    )
    assert weighed < plain
    tail = torch.linalg.svdvals(x @ error.T)[6:].square().sum().sqrt()
    assert weighed == pytest.approx(float(tail), rel=0.02)  # the damping is in between


def test_error_falls_with_rank_and_with_gptq() -> None:
    x, weight = correlated(64), uneven(48, 64)
    hessian = x.T @ x

    def error(method: ZeroQuantFp, inputs: list[Tensor]) -> float:
        lone = lone_block({"a": weight}, inputs)
        change = method.quantize(lone, {"a": Grid(4, 16)})["a"].dequantize() - weight
        return float(((change @ hessian) * change).sum())

    errors = [error(ZeroQuantFp(rank=rank), [x.unsqueeze(0)]) for rank in (0, 2, 4, 8, 16)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.7 * errors[0]
    nearest = error(ZeroQuantFp(rank=0), [])
    assert errors[0] < 0.7 * nearest, "with nothing known of the inputs, codes are the nearest"


def test_e2m1_is_ahead_of_e3m0() -> None:
    weight = torch.randn(48, 64)
    lone = lone_block({"a": weight}, [correlated(64).unsqueeze(0)])
    grids = {"a": Grid(4, 16)}
    two, three = (
        float((ZeroQuantFp(form, rank=0).quantize(lone, grids)["a"].dequantize() - weight).norm())
        for form in ("E2M1", "E3M0")
    )
    assert two < three


@pytest.mark.parametrize("kind", ["fp8", "int8"])
def test_activations_are_rounded_token_by_token(kind: Activations) -> None:
    codes = torch.zeros(2, 16, dtype=torch.uint8)
    layer = Floating(codes, E2M1, Scales(torch.ones(2, 1).half()), 16, None, kind)
    x = torch.randn(3, 5, 16) * torch.tensor([1e-3, 1.0, 1e4]).view(3, 1, 1)
    x[1, 2] = 0
    made = layer.prepare_input(x)
    largest = x.abs().amax(-1, keepdim=True)
    share = 1 / 16 if kind == "fp8" else 1 / 253
    bound = share * (x.abs() if kind == "fp8" else largest) + largest * 2.0**-18
    assert ((made - x).abs() <= bound).all()
    assert not torch.equal(made, x)
    torch.testing.assert_close(made.abs().amax(-1), x.abs().amax(-1))
    torch.testing.assert_close(layer.prepare_input(made), made)  # and then they stay
    assert layer.prepare_input(x.bfloat16()).dtype == torch.bfloat16


def test_an_outlier_costs_int8_more_than_fp8() -> None:
    codes = torch.zeros(2, 64, dtype=torch.uint8)
    x = torch.randn(100, 64)
    x[:, 7] *= 100
    fp8, int8 = (
        Floating(codes, E2M1, Scales(torch.ones(2, 1).half()), 64, None, kind).prepare_input(x)
        for kind in ("fp8", "int8")
    )
    rest = torch.arange(64) != 7
    assert (fp8 - x)[:, rest].norm() < 0.5 * (int8 - x)[:, rest].norm()


def test_fp4_numbers_with_shifts_are_fp8_numbers() -> None:
    """Why M2 is worth having: a row becomes one vector of E4M3 with one scale."""
    scales = fit_scales(uneven(32, 128), E2M1, 16, "m2")
    assert scales.shift is not None
    powers = torch.ldexp(torch.ones(scales.shift.shape), 6 - scales.shift.int())
    numbers = table(E2M1).view(1, 1, 16) * powers.unsqueeze(-1)
    assert torch.equal(numbers.to(torch.float8_e4m3fn).float(), numbers)
    assert numbers.abs().max() <= E4M3FN.largest


@pytest.mark.parametrize("factors", ["int8", "float16"])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("bits", [4, 8])
def test_stored_and_read_again(bits: int, constraint: Constraint, factors: str) -> None:
    method = ZeroQuantFp(constraint=constraint, rank=2, factors="int8")
    if factors == "float16":
        method = ZeroQuantFp(constraint=constraint, rank=2, factors="float16")
    lone = lone_block({"a": torch.randn(40, 96)}, [correlated(96).unsqueeze(0)])
    layer = method.quantize(lone, {"a": Grid(bits, 32)})["a"]
    again = layer_kind(layer.kind).from_tensors(layer.tensors(), layer.settings())
    assert torch.equal(again.dequantize(), layer.dequantize())
    assert again.settings() == layer.settings()
    stored = sum(t.numel() * t.element_size() for t in layer.tensors().values())
    assert layer.bits == again.bits == 8 * stored / (40 * 96)
    damaged = layer.tensors() | {"scale": layer.tensors()["scale"][:-1]}
    with pytest.raises(UserError, match="the file is damaged"):
        Floating.from_tensors(damaged, layer.settings())


def test_what_it_takes() -> None:
    lone = lone_block({"a": torch.randn(256, 512)}, [])
    grids = {"a": Grid(4, 64)}
    free, m2 = (
        ZeroQuantFp(constraint=constraint, rank=0).quantize(lone, grids)["a"].bits
        for constraint in ("free", "m2")
    )
    assert free == 4 + 16 / 64
    assert m2 == 4 + 4 / 64 + 16 / 512
    thin = ZeroQuantFp(rank=8).quantize(lone, grids)["a"].bits
    assert thin - m2 == pytest.approx(8 * (8 * (256 + 512) + 4 * 8) / (256 * 512))


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if "-" not in name])
def test_blocks_of_every_architecture(name: str) -> None:
    whole = block(name, chunks=2)
    before = {path: whole.weight(path).clone() for path in whole.linears}
    layers = ZeroQuantFp(rank=2).quantize(whole, dict.fromkeys(whole.linears, Grid(4, 32)))
    for path, weight in before.items():
        assert torch.equal(whole.weight(path), weight), "the walk puts the new weights in"
        assert layers[path].shape == weight.shape
        assert (layers[path].dequantize() - weight).norm() < 0.25 * weight.norm()


def test_refusals() -> None:
    lone = lone_block({"a": torch.randn(8, 32)}, [torch.randn(1, 64, 32)])
    with pytest.raises(UserError, match="4 and 8 bits here, and not of 3"):
        ZeroQuantFp().quantize(lone, {"a": Grid(3)})

    def stop() -> None:
        raise Cancelled

    lone.check = stop
    with pytest.raises(Cancelled):
        ZeroQuantFp().quantize(lone, {"a": Grid(4)})
