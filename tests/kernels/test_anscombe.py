"""The stabilising transform against golden numbers, and against its own expectation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kernels import anscombe

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "yond-vst.json"
ROWS: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["yond_vst"]["rows"]


def _row(row: dict[str, Any]) -> tuple[torch.Tensor, float, float]:
    return torch.tensor(row["x"], dtype=torch.float64), row["K"], row["sigma"]


def _column(row: dict[str, Any], name: str) -> torch.Tensor:
    return torch.tensor(row[name], dtype=torch.float64)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"K{row['K']}")
def test_transform_and_inverses_equal_golden(row: dict[str, Any]) -> None:
    x, gain, sigma = _row(row)
    f = anscombe.forward(x, gain, sigma)
    torch.testing.assert_close(f, _column(row, "vst"), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(anscombe.algebraic_inverse(f, gain, sigma), x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        anscombe.unbiased_inverse(f, gain, sigma),
        _column(row, "closed_form_exact_unbiased_inverse_of_vst"),
        rtol=5e-5,
        atol=5e-5,
    )
    torch.testing.assert_close(
        anscombe.bias_series(x / gain, sigma / gain),
        _column(row, "bias_of_vst_closed_form"),
        rtol=1e-6,
        atol=1e-7,
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"K{row['K']}")
def test_bias_table_equals_golden(row: dict[str, Any]) -> None:
    x, gain, sigma = _row(row)
    table = anscombe.bias_table(gain, sigma)
    found = table(anscombe.forward(x, gain, sigma))
    # The golden file's own summation is a little coarse near the kink (4e-4 at K 24).
    torch.testing.assert_close(found, _column(row, "bias_of_vst_numeric"), rtol=0, atol=5e-4)


def test_numeric_bias_equals_a_much_finer_sum() -> None:
    u = torch.tensor([0.0, 0.05, 0.8, 4.0], dtype=torch.float64)
    ratio = 20 / 24
    g = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
    weight = torch.exp(-0.5 * g * g)
    weight /= weight.sum()
    counts = torch.arange(50, dtype=torch.float64)
    inner = torch.stack([anscombe.forward(k + ratio * g, 1.0, ratio) @ weight for k in counts])
    log_poisson = (
        torch.xlogy(counts[None], u[:, None]) - u[:, None] - torch.lgamma(counts + 1.0)[None]
    )
    exact = torch.exp(log_poisson) @ inner - anscombe.forward(u, 1.0, ratio)
    torch.testing.assert_close(anscombe.bias_numeric(u, ratio), exact, rtol=0, atol=5e-5)


@pytest.mark.parametrize(
    ("u", "ratio", "bias"),
    [
        (0.05, 0.1, -0.034), (0.5, 0.1, -0.134), (0.5, 1.0, -0.179), (0.5, 2.0, -0.132),
        (2.0, 0.5, -0.160), (2.0, 2.0, -0.110), (10.0, 1.0, -0.075), (50.0, 1.0, -0.035),
        (200.0, 3.0, -0.017),
    ],
)  # fmt: skip
def test_table_equals_published_samples(u: float, ratio: float, bias: float) -> None:
    f = anscombe.forward(torch.tensor([u], dtype=torch.float64), 1.0, ratio)
    assert anscombe.bias_table(1.0, ratio)(f).item() == pytest.approx(bias, abs=1.1e-3)


@pytest.mark.parametrize(("gain", "sigma"), [(8.0, 12.0), (0.3, 2.0), (25.0, 26.0)])
def test_perfect_averaging_gives_the_mean_back(gain: float, sigma: float) -> None:
    """The whole point of the pre-correction, from 2 to 500 electrons."""
    generator = torch.Generator().manual_seed(3)
    table = anscombe.bias_table(gain, sigma)
    for electrons in (2.0, 10.0, 100.0, 500.0):
        counts = torch.poisson(torch.full((400_000,), electrons), generator=generator)
        noisy = gain * counts + sigma * torch.randn(counts.shape, generator=generator)
        z = anscombe.stabilise(noisy, gain, sigma, table)
        mean = anscombe.algebraic_inverse(z.double().mean(), gain, sigma).item()
        assert mean == pytest.approx(gain * electrons, rel=0.02 if electrons < 5 else 0.006)
        assert z.std().item() == pytest.approx(1.0, abs=0.1)


def test_negative_signal_survives_the_round_trip() -> None:
    y = torch.linspace(-30.0, 100.0, 500, dtype=torch.float64)
    gain, sigma = 4.0, 12.0
    inside = gain * y + 0.375 * gain**2 + sigma**2 > 0
    back = anscombe.algebraic_inverse(anscombe.forward(y, gain, sigma), gain, sigma)
    torch.testing.assert_close(back[inside], y[inside], rtol=1e-9, atol=1e-9)
    assert back.min() < 0
