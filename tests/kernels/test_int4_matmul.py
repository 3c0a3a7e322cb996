"""Every way to multiply with a packed weight, against the product with the dequantized one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from kernels import grouped, int4_matmul, native
from kernels.grouped import Dim
from kernels.int4_matmul import WAYS, WayName

needs_native = pytest.mark.skipif(native.load() is None, reason=native.why_not())


def sample(
    rows: int, inputs: int, group: int, bits: int, symmetric: bool, dim: Dim = "in"
) -> tuple[Tensor, Tensor, Tensor | None]:
    across, along = (rows, inputs) if dim == "in" else (inputs, rows)
    codes = torch.randint(0, 1 << bits, (rows, inputs), dtype=torch.uint8)
    scale = (torch.rand(across, along // group) + 0.1).to(torch.float16)
    if symmetric:
        return codes, scale, None
    return codes, scale, torch.randint(0, 1 << bits, scale.shape, dtype=torch.uint8)


def dense(codes: Tensor, scale: Tensor, zero: Tensor | None, bits: int, dim: Dim = "in") -> Tensor:
    middle = 1 << (bits - 1)
    return grouped.dequantize(codes, scale, middle if zero is None else zero, dim).double()


def relative_error(got: Tensor, expected: Tensor) -> float:
    norm = torch.linalg.vector_norm
    return float(norm(got.double() - expected) / norm(expected))


@needs_native
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(
    ("rows", "inputs", "group"),
    [(64, 256, 32), (48, 128, 64), (100, 384, 128), (33, 512, 256), (20, 100, 100), (1, 576, 576)],
)
def test_native(rows: int, inputs: int, group: int, bits: int, symmetric: bool) -> None:
    codes, scale, zero = sample(rows, inputs, group, bits, symmetric)
    weight = int4_matmul.prepare(codes, scale, zero, bits)
    assert list(weight.ways) == ["native"]
    whole = dense(codes, scale, zero, bits)
    for batch in (1, 2, 3, 15, 67):
        x = torch.randn(batch, inputs)
        assert relative_error(weight.matmul(x), x.double() @ whole.T) < 1e-6
        # One rounding at the end, and none on the way: each is off by 2^-8 of itself at most.
        short = x.to(torch.bfloat16)
        assert relative_error(weight.matmul(short), short.double() @ whole.T) < 2**-8


@needs_native
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize(("rows", "inputs", "group"), [(64, 96, 32), (128, 100, 16), (48, 64, 48)])
def test_native_with_groups_along_the_outputs(
    rows: int, inputs: int, group: int, bits: int, symmetric: bool
) -> None:
    codes, scale, zero = sample(rows, inputs, group, bits, symmetric, "out")
    weight = int4_matmul.prepare(codes, scale, zero, bits, "out")
    assert list(weight.ways) == ["native"]
    whole = dense(codes, scale, zero, bits, "out")
    for batch in (1, 5, 67):
        x = torch.randn(batch, inputs)
        assert relative_error(weight.matmul(x), x.double() @ whole.T) < 1e-6


@pytest.mark.parametrize("dim", ["in", "out"])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_tiles(dim: Dim, bits: int, symmetric: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "_TILE_WEIGHTS", 1500)
    codes, scale, zero = sample(96, 48, 24, bits, symmetric, dim)
    weight = int4_matmul.prepare(codes, scale, zero, bits, dim, ways=["tiles"])
    x = torch.randn(3, 48)
    expected = x.double() @ dense(codes, scale, zero, bits, dim).T
    assert relative_error(weight.matmul(x), expected) < 1e-6
    assert weight.nbytes == 96 * -(-48 * bits // 32) * 4 + scale.nbytes * (1 if symmetric else 1.5)


@pytest.mark.parametrize("symmetric", [True, False])
def test_int4pack_serves_few_rows_of_bfloat16(symmetric: bool) -> None:
    codes, scale, zero = sample(32, 128, 32, 4, symmetric)
    weight = int4_matmul.prepare(codes, scale, zero, 4, ways=["int4pack", "tiles"])
    if not int4_matmul._int4pack_is_right():
        assert list(weight.ways) == ["tiles"]
        pytest.skip("torch has no such kernel here")
    assert list(weight.ways) == ["int4pack", "tiles"]
    pack = weight.ways["int4pack"]
    few, many = torch.randn(2, 128), torch.randn(40, 128)
    assert pack.serves(few.to(torch.bfloat16))
    assert not pack.serves(few)
    assert not pack.serves(many.to(torch.bfloat16))
    whole = dense(codes, scale, zero, 4)
    assert relative_error(weight.matmul(few), few.double() @ whole.T) < 1e-6
    half = weight.matmul(few.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert relative_error(half, few.double() @ whole.T) < 0.02


@pytest.mark.parametrize("ways", [["native", "tiles"], ["tiles"]])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_floats_in_and_out(ways: list[WayName], dtype: torch.dtype) -> None:
    codes, scale, zero = sample(48, 128, 64, 4, False)
    weight = int4_matmul.prepare(codes, scale, zero, 4, ways=ways)
    x = torch.randn(2, 3, 128).to(dtype)
    y = weight.matmul(x)
    assert y.dtype == dtype
    assert y.shape == (2, 3, 48)
    assert relative_error(y, x.double() @ dense(codes, scale, zero, 4).T) < 0.01


@needs_native
def test_two_threads_give_what_one_gives() -> None:
    codes, scale, zero = sample(1024, 1024, 128, 4, False)
    weight = int4_matmul.prepare(codes, scale, zero, 4)
    x = torch.randn(5, 1024)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = weight.matmul(x)
        torch.set_num_threads(2)
        assert torch.equal(weight.matmul(x), one)
    finally:
        torch.set_num_threads(before)


@needs_native
def test_many_callers_at_once_get_what_is_theirs() -> None:
    codes, scale, _ = sample(1024, 1024, 128, 4, True)
    weight = int4_matmul.prepare(codes, scale, None, 4)
    rows = [torch.randn(2, 1024) for _ in range(4)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = [weight.matmul(x) for x in rows]
        torch.set_num_threads(2)
        with ThreadPoolExecutor(4) as pool:
            for _ in range(10):
                together = list(pool.map(weight.matmul, rows))
                assert all(map(torch.equal, together, alone))
    finally:
        torch.set_num_threads(before)


@needs_native
def test_scales_that_float16_cannot_hold_are_kept_as_they_are() -> None:
    codes, _, zero = sample(16, 64, 32, 4, False)
    scale = torch.rand(16, 2) * 1e-9
    x = torch.randn(2, 64)
    weight = int4_matmul.prepare(codes, scale, zero, 4)
    assert relative_error(weight.matmul(x), x.double() @ dense(codes, scale, zero, 4).T) < 1e-6


@needs_native
def test_an_empty_batch_and_rows_that_are_not_contiguous() -> None:
    codes, scale, zero = sample(16, 64, 32, 4, True)
    weight = int4_matmul.prepare(codes, scale, zero, 4)
    assert weight.matmul(torch.empty(0, 64)).shape == (0, 16)
    x = torch.randn(64, 6).T
    assert relative_error(weight.matmul(x), x.double() @ dense(codes, scale, zero, 4).T) < 1e-6


@pytest.mark.parametrize(("bits", "group", "dim"), [(4, 16, "in"), (5, 32, "in"), (4, 6, "out")])
def test_groups_that_no_fast_way_takes_go_by_tiles(bits: int, group: int, dim: Dim) -> None:
    codes, scale, zero = sample(48, 64, group, bits, True, dim)
    assert list(int4_matmul.prepare(codes, scale, zero, bits, dim).ways) == ["tiles"]


@pytest.mark.parametrize(("bits", "ways"), [(4, WAYS), (4, ["tiles"]), (8, WAYS)])
@pytest.mark.parametrize("groups", [1, 3])
def test_codes_that_stand_for_something_else(
    bits: int, ways: list[WayName], groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouped, "_TILE_WEIGHTS", 1500)
    codes = torch.randint(0, 1 << bits, (40, 96), dtype=torch.uint8)
    scale, table = torch.rand(40, groups), torch.randn(1 << bits)
    weight = int4_matmul.prepare(codes, scale, None, bits, ways=ways, table=table)
    whole = table[codes.long()].double() * scale.double().repeat_interleave(96 // groups, 1)
    for batch in (1, 11):
        x = torch.randn(batch, 96)
        assert relative_error(weight.matmul(x), x.double() @ whole.T) < 1e-6
    if native.load() is not None and bits == 4:
        assert list(weight.ways) == (["native"] if "native" in ways else ["tiles"])


def test_what_cannot_be_multiplied_is_refused() -> None:
    codes, scale, zero = sample(48, 64, 16, 5, True)
    with pytest.raises(ValueError, match="no zero point"):
        int4_matmul.prepare(codes, scale, None, 5, "out", table=torch.randn(32))
    with pytest.raises(ValueError, match="None of int4pack"):
        int4_matmul.prepare(codes, scale, zero, 5, ways=["int4pack"])
    weight = int4_matmul.prepare(codes, scale, zero, 5)
    with pytest.raises(ValueError, match="64 inputs"):
        weight.matmul(torch.randn(2, 32))
