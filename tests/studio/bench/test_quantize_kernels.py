"""The bench of the low-bit kernels compares what it says, on a weight small enough for a test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from studio.bench import BENCHES, quantize_kernels
from tests.language_models import write_model


def test_it_is_listed() -> None:
    assert BENCHES["quantize-kernels"] == quantize_kernels.__name__


def test_the_systems_multiply_with_one_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize_kernels, "_SPREAD", 1)
    codes = torch.randint(0, 16, (64, 128), dtype=torch.uint8)
    systems = quantize_kernels._systems(codes, torch.full((64, 2), 0.01, dtype=torch.float16))
    x = torch.randn(4, 128)
    exact = systems["float32"][0](x)
    for name in ("bfloat16", "int4pack", "ours_4", "ours_4_bfloat16", "bitsandbytes_nf4"):
        for product in systems.get(name, []):  # int4pack is not everywhere
            error = torch.linalg.vector_norm(product(x).float() - exact)
            limit = 0.2 if name == "bitsandbytes_nf4" else 0.02  # that one rounds once more
            assert error < limit * torch.linalg.vector_norm(exact), name


def test_a_row_says_how_long_and_how_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize_kernels, "_SPREAD", 1)
    monkeypatch.setattr(quantize_kernels, "_SECONDS", 0.0)
    monkeypatch.setattr(quantize_kernels, "bandwidth", lambda: 10.0)
    [row] = quantize_kernels.measure(64, 128, (2,))
    assert (row["size"], row["batch"]) == ("64 x 128", 2)
    assert all(row[f"{name}_ms"] > 0 for name in ("float32", "bitsandbytes_nf4", "ours_4"))
    assert row["share_of_memory"] == pytest.approx(row["gb_per_second"] / 10, abs=0.02)


def test_a_whole_model_speaks_on_every_kernel(tmp_path: Path) -> None:
    row = quantize_kernels.whole(write_model(tmp_path / "tiny"))
    assert all(row[f"{name}_ms"] > 0 for name in ("float32", "bitsandbytes_nf4", "ours_4"))
    assert row["tokens_per_second"] == pytest.approx(1000 / row["ours_4_ms"], rel=0.01)


def test_bandwidth_is_measured() -> None:
    assert quantize_kernels.bandwidth(size=1 << 20, piece=1 << 18) > 0
