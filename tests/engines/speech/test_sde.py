"""The diffusions against the golden constants and against simulation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from engines.speech.sde import OUVE, SBVE

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden" / "speech-sdes.json"
SDES = {"OUVESDE": OUVE(1.5, 0.05, 0.5), "SBVESDE": SBVE(2.6, 0.4)}


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("name", SDES)
def test_mean_and_std_are_the_official_ones(name: str, golden: dict[str, Any]) -> None:
    rows, sde = golden[name], SDES[name]
    times = torch.tensor(rows["t"], dtype=torch.float64)
    x0 = torch.full((len(times), 1, 2, 2), rows["x0"], dtype=torch.complex128)
    y = torch.full_like(x0, complex(*rows["y"]))
    mean = sde.mean(x0, y, times)[:, 0, 1, 1]
    expected = torch.complex(*(torch.tensor(rows[k]).double() for k in ("mean_re", "mean_im")))
    # the official code computes in float32
    torch.testing.assert_close(mean, expected, rtol=2e-6, atol=1e-7)
    std = torch.tensor(rows["std"], dtype=torch.float64)
    torch.testing.assert_close(sde.std(times), std, rtol=2e-5, atol=0.0)
    assert sde.std(times).dtype == torch.float64


def test_known_values() -> None:
    assert float(OUVE().std(1.0)) == pytest.approx(0.388983, abs=1e-6)
    assert float(OUVE().std(0.03)) == pytest.approx(0.018830, abs=1e-6)
    assert float(SBVE().exact().std(1.0)) == 0.0


@pytest.mark.parametrize("sde", SDES.values())
def test_one_time_is_a_time_for_each_item(sde: OUVE | SBVE) -> None:
    x0, y = torch.randn(2, 3, 1, 4, 5, dtype=torch.complex64).unbind()
    each = sde.mean(x0, y, torch.tensor([0.2, 0.5, 0.9]))
    assert each.dtype == torch.complex64
    for row, t in enumerate((0.2, 0.5, 0.9)):
        torch.testing.assert_close(each[row], sde.mean(x0, y, t)[row])


@pytest.mark.parametrize("t", [0.3, 1.0])
def test_ouve_is_what_its_equation_reaches(t: float) -> None:
    """Euler steps of dx = f dt + g dw end at the closed form's mean and spread."""
    sde, steps = OUVE(), 400
    generator = torch.Generator().manual_seed(3)
    x = torch.ones(20_000, dtype=torch.float64)
    y = torch.full_like(x, 0.2)
    for number in range(steps):
        now = number * t / steps
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        x = x + sde.drift(x, y, now) * t / steps
        x = x + sde.diffusion(now) * (t / steps) ** 0.5 * noise
    mean = float(sde.mean(torch.ones(1), torch.full((1,), 0.2), t))
    assert float(x.mean()) == pytest.approx(mean, abs=0.01)
    assert float(x.std()) == pytest.approx(float(sde.std(t)), rel=0.03)


def test_the_bridge_gathers_its_diffusion() -> None:
    sde = SBVE()
    times = torch.linspace(0, 0.7, 2001, dtype=torch.float64)
    gathered = torch.trapezoid(sde.diffusion(times) ** 2, times)
    assert float(sde.variance(0.7)) == pytest.approx(float(gathered), rel=1e-6)
    left = sde.exact().variance_left(0.7) + sde.variance(0.7)
    assert float(left) == pytest.approx(float(sde.variance(1.0)))


def test_perturb_and_prior_spread_as_said() -> None:
    generator = torch.Generator().manual_seed(1)
    x0, y = torch.full((1, 40_000), 1 + 1j), torch.full((1, 40_000), 0.5 + 0j)
    z = torch.randn(x0.shape, dtype=x0.dtype, generator=generator)
    for sde in SDES.values():
        x = sde.perturb(x0, y, 0.4, z) - sde.mean(x0, y, 0.4)
        assert float(x.abs().square().mean().sqrt()) == pytest.approx(float(sde.std(0.4)), rel=0.02)
    x = OUVE().prior(y, z) - y
    assert float(x.abs().square().mean().sqrt()) == pytest.approx(0.388983, rel=0.02)
