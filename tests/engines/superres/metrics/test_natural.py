"""NIQE's measure with our model, and the measure of detail."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engines.superres.metrics.detail import detail_db
from engines.superres.metrics.natural import Natural, features


def _texture(seed: int, side: int = 288) -> np.ndarray:
    """Luma with the spectrum of photographs (power falls with the square of frequency)."""
    random = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    radius = np.hypot(fy, fx)
    radius[0, 0] = 1.0
    spectrum = np.fft.rfft2(random.standard_normal((side, side))) / radius
    waves = np.fft.irfft2(spectrum, s=(side, side))
    return 126.0 + 40.0 * waves / waves.std()


def test_what_is_blurred_or_noisy_is_further_from_its_own_kind(tmp_path: Path) -> None:
    model = Natural.fit([_texture(seed) for seed in range(6)])
    kept = [_texture(seed) for seed in range(10, 13)]
    clean = model.distance(kept)
    blurred = model.distance(
        [cv2.GaussianBlur(one, (0, 0), 1.5).astype(np.float64) for one in kept]
    )
    noise = np.random.default_rng(0).normal(0.0, 10.0, kept[0].shape)
    noisy = model.distance([one + noise for one in kept])
    assert blurred > 2.0 * clean
    assert noisy > 2.0 * clean
    model.save(tmp_path / "model.safetensors")
    again = Natural.load(tmp_path / "model.safetensors").distance(kept)
    assert again == pytest.approx(clean, rel=1e-3)


def test_the_model_that_ships_prefers_a_photograph_to_its_enlargement() -> None:
    file = sorted((Path(__file__).parents[3] / "data" / "photos").iterdir())
    pictures = [cv2.imread(str(one)) for one in file if one.suffix in {".png", ".jpg"}]
    lumas = [np.asarray(one)[:, :, ::-1] @ np.array([0.257, 0.504, 0.098]) + 16 for one in pictures]
    lumas = [one for one in lumas if min(one.shape) >= 96]
    assert lumas
    small = [cv2.resize(one, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA) for one in lumas]
    large = [
        cv2.resize(one, (like.shape[1], like.shape[0]), interpolation=cv2.INTER_CUBIC).astype(float)
        for one, like in zip(small, lumas, strict=True)
    ]
    model = Natural.load()
    assert model.distance(lumas) < model.distance(large)


def test_features_have_two_scales_and_leave_out_flat_blocks() -> None:
    picture = _texture(1)
    assert features(picture, sharp=False).shape == (9, 36)
    picture[:96, :96] = 100.0
    assert len(features(picture, sharp=True)) < 9


def test_detail_is_zero_for_the_same_and_six_decibels_for_half() -> None:
    random = torch.Generator().manual_seed(1)
    picture = torch.rand(1, 3, 64, 64, generator=random)
    assert detail_db(picture, picture) == pytest.approx(0.0)
    half = 0.5 + (picture - 0.5) / 2.0
    assert detail_db(half, picture) == pytest.approx(-6.02, abs=0.01)
