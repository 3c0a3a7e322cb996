"""What `bench quantize-diffusion` is asked for, and its distance between sets of pictures."""

from __future__ import annotations

import pytest
import torch

from studio.bench import quantize_diffusion
from studio.bench.frechet import features, frechet


def test_systems_and_widths_by_name() -> None:
    assert quantize_diffusion._wanted("ptq4dm@W4A4,float") == [("ptq4dm", "W4A4"), ("float", "")]
    whole = quantize_diffusion._wanted("")
    assert whole[0] == ("float", "")
    assert len(whole) == 10


def test_the_distance_is_that_of_normal_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(4000, 3, generator=generator, dtype=torch.float64)
    drawn = (drawn - drawn.mean(0)) @ torch.linalg.cholesky(torch.cov(drawn.T)).inverse().T
    assert frechet(drawn, drawn) == pytest.approx(0, abs=1e-9)
    assert frechet(drawn, drawn + 2) == pytest.approx(12)  # 3 (2^2)
    assert frechet(drawn, 3 * drawn) == pytest.approx(12)  # 3 (3 - 1)^2


def test_features_tell_noise_from_pictures() -> None:
    generator = torch.Generator().manual_seed(1)
    plain, other = (torch.rand(64, 3, 1, 1, generator=generator).expand(-1, -1, 16, 16)
                    for _ in range(2))  # fmt: skip
    noisy = plain + 0.3 * torch.randn(64, 3, 16, 16, generator=generator)
    assert features(plain).shape == (64, 102)
    same = frechet(features(plain), features(other))
    assert frechet(features(plain), features(noisy)) > 2 * same
