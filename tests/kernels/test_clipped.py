"""The mean of noise that was cut off at a floor, and back."""

from __future__ import annotations

import pytest
import torch

from kernels.clipped import clipped_mean, unclipped_mean

CASES = [(4.0, 6.0, 0.0), (24.0, 26.0, 0.0), (0.4, 2.0, -1.5), (8.0, 1.0, 0.0)]


@pytest.mark.parametrize(("gain", "sigma", "floor"), CASES)
def test_the_mean_is_that_of_drawn_noise(gain: float, sigma: float, floor: float) -> None:
    generator = torch.Generator().manual_seed(1)
    light = torch.tensor([0.0, 0.5 * sigma, 2.0 * sigma, 9.0 * sigma], dtype=torch.float64)
    spread = (gain * light + sigma**2).sqrt()
    drawn = light + spread * torch.randn(400_000, 4, generator=generator, dtype=torch.float64)
    found = clipped_mean(light, gain, sigma, floor)
    torch.testing.assert_close(
        found, drawn.clamp(min=floor).mean(dim=0), atol=0.01 * float(spread.max()), rtol=0
    )
    assert float(found[0]) > floor


@pytest.mark.parametrize(("gain", "sigma", "floor"), CASES)
def test_light_comes_back_and_what_was_not_cut_stays(
    gain: float, sigma: float, floor: float
) -> None:
    light = torch.linspace(0.0, 5000.0, 9001, dtype=torch.float64)
    mean = clipped_mean(light, gain, sigma, floor)
    torch.testing.assert_close(
        unclipped_mean(mean, gain, sigma, floor), light, atol=0.01 * sigma, rtol=0
    )
    bright = torch.full((2, 3), 4000.0)
    assert torch.equal(unclipped_mean(bright, gain, sigma, floor), bright)
    assert float(unclipped_mean(torch.tensor(floor - 1.0), gain, sigma, floor)) == 0.0
