"""Group-wise dequantization against the formula, group by group."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels import grouped
from kernels.grouped import Dim


def by_hand(codes: Tensor, scale: Tensor, zero: Tensor | int, dim: Dim) -> Tensor:
    if dim == "out":
        return by_hand(codes.T, scale, zero, "in").T
    group = codes.shape[1] // scale.shape[1]
    zero = zero if isinstance(zero, int) else zero.repeat_interleave(group, 1).to(torch.float32)
    return (codes.to(torch.float32) - zero) * scale.to(torch.float32).repeat_interleave(group, 1)


def sample(rows: int, columns: int, group: int, dim: Dim) -> tuple[Tensor, Tensor, Tensor]:
    across, along = (rows, columns) if dim == "in" else (columns, rows)
    codes = torch.randint(0, 16, (rows, columns), dtype=torch.uint8)
    scale = (torch.rand(across, along // group) + 0.1).to(torch.float16)
    return codes, scale, torch.randint(0, 16, scale.shape, dtype=torch.uint8)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles, the last of them not full, in a small weight."""
    monkeypatch.setattr(grouped, "_TILE_WEIGHTS", 1000)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dim", ["in", "out"])
@pytest.mark.parametrize(("rows", "columns", "group"), [(48, 96, 16), (60, 60, 60), (40, 24, 8)])
@pytest.mark.parametrize("symmetric", [True, False])
def test_dequantize(dim: Dim, rows: int, columns: int, group: int, symmetric: bool) -> None:
    codes, scale, zero = sample(rows, columns, group, dim)
    moved = 8 if symmetric else zero
    weight = grouped.dequantize(codes, scale, moved, dim)
    assert torch.equal(weight, by_hand(codes, scale, moved, dim))
    half = grouped.dequantize(codes, scale, moved, dim, torch.bfloat16)
    assert torch.equal(half, weight.to(torch.bfloat16))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dim", ["in", "out"])
def test_matmul_is_that_of_the_whole_weight(dim: Dim) -> None:
    codes, scale, zero = sample(64, 96, 32, dim)
    x = torch.randn(2, 3, 96)
    expected = x @ by_hand(codes, scale, zero, dim).T
    assert torch.allclose(grouped.matmul(x, codes, scale, zero, dim), expected, atol=1e-4)
    half = grouped.matmul(x.to(torch.bfloat16), codes, scale, zero, dim)
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.float(), expected, rtol=0.05, atol=1.0)


def test_shapes_that_do_not_fit_are_refused() -> None:
    codes, scale, _ = sample(16, 32, 8, "in")
    with pytest.raises(ValueError, match="outputs"):
        grouped.dequantize(codes, scale, 8, "out")
    with pytest.raises(ValueError, match="inputs"):
        grouped.dequantize(codes, scale[:, :3], 8, "in")
