"""Blind estimation against noise of known K and sigma."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.base import Figure
from engines.raw.noise.blocks import TEXTURE_OF_NOISE, measure
from engines.raw.noise.estimate import DOUBTFUL, default_noise, estimate_pair, estimate_self
from engines.raw.noise.figure import draw_noise_figure
from kernels.bayer import PHASES, pack

BLACK, WHITE = 512.0, 16383.0
SCALE = WHITE - BLACK

Array = NDArray[np.float64]


def _scene(height: int, width: int, seed: int, low: float = 0.0, high: float = 0.5) -> Array:
    """A smooth mosaic in [0, 1] with every brightness in it, more of it dark than bright."""
    random = np.random.default_rng(seed)
    coarse = low + (high - low) * random.uniform(0.0, 1.0, (7, 9)).astype(np.float32) ** 3
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.asarray(smooth, dtype=np.float64), low, high)


def _noisy(clean: Array, gain: float, sigma: float, seed: int = 1) -> NDArray[np.uint16]:
    random = np.random.default_rng(seed)
    raw = BLACK + gain * random.poisson(clean * SCALE / gain) + random.normal(0, sigma, clean.shape)
    return np.clip(np.round(raw), 0, WHITE).astype(np.uint16)


def _planes(mosaic: NDArray[np.uint16], cfa: str = "RGGB") -> Tensor:
    return (pack(torch.from_numpy(mosaic), cfa).float() - BLACK) / SCALE


@pytest.mark.parametrize("cfa", list(PHASES))
@pytest.mark.parametrize(("gain", "sigma"), [(0.4, 2.0), (3.0, 4.0), (12.0, 14.0), (25.0, 26.0)])
def test_known_noise_is_found_in_every_cfa_order(cfa: str, gain: float, sigma: float) -> None:
    scene = _scene(601, 903, seed=3)  # odd sides: reflected rows and columns
    found = estimate_self(_planes(_noisy(scene, gain, sigma), cfa), SCALE)
    assert found.K == pytest.approx(gain, rel=0.03)
    assert found.sigma == pytest.approx(sigma, rel=0.12)
    assert found.confidence > 0.9
    assert found.reasons == ()


def test_white_texture_that_all_planes_share_is_not_taken_for_noise() -> None:
    """Half of the picture is full of fine texture, many times as strong as the noise."""
    scene = _scene(800, 1200, seed=5)
    random = np.random.default_rng(2)
    grain = random.normal(1.0, 0.3, (400, 600)).repeat(2, axis=0).repeat(2, axis=1)
    scene[:, :600] = np.clip(scene * grain, 0.01, 0.9)[:, :600]
    planes = _planes(_noisy(scene, 6.0, 7.0))
    found = estimate_self(planes, SCALE)
    assert found.K == pytest.approx(6.0, rel=0.05)
    assert found.sigma == pytest.approx(7.0, rel=0.25)
    textured = measure(planes[:, :, :280], SCALE).texture
    flat = measure(planes[:, :, 320:], SCALE).texture
    assert np.median(textured) > 4 * TEXTURE_OF_NOISE
    assert np.mean(flat) == pytest.approx(TEXTURE_OF_NOISE, rel=0.15)


def test_the_first_pass_shows_where_the_texture_is() -> None:
    """Texture that the planes do not share deceives the first look, not the second."""
    scene = _scene(600, 900, seed=8)
    random = np.random.default_rng(4)
    textured = np.clip(scene * random.normal(1.0, 0.06, scene.shape), 0.005, 0.95)
    textured[:, 630:] = scene[:, 630:]
    noisy = _planes(_noisy(textured, 8.0, 12.0))
    clean = torch.from_numpy(np.stack([textured[y::2, x::2] for y in (0, 1) for x in (0, 1)]))
    first = estimate_self(noisy, SCALE)
    refined = estimate_pair([(noisy, clean.float())], SCALE, first)
    assert abs(refined.K / 8.0 - 1.0) < 0.03
    assert abs(refined.sigma / 12.0 - 1.0) < 0.1
    assert abs(refined.K / 8.0 - 1.0) <= abs(first.K / 8.0 - 1.0)
    assert refined.confidence > 0.9


def test_a_first_pass_that_kept_all_noise_does_not_talk_the_estimate_away() -> None:
    noisy = _planes(_noisy(_scene(600, 900, seed=8), 8.0, 12.0))
    first = estimate_self(noisy, SCALE)
    assert estimate_pair([(noisy, noisy)], SCALE, first) is first


def test_texture_everywhere_is_admitted_and_held_to_the_default() -> None:
    random = np.random.default_rng(6)
    grain = random.uniform(0.3, 1.7, (350, 500)).repeat(2, axis=0).repeat(2, axis=1)
    scene = np.clip(_scene(700, 1000, seed=1) * grain, 0.001, 0.9)
    found = estimate_self(_planes(_noisy(scene, 0.4, 2.0)), SCALE)
    gain, sigma = default_noise(SCALE)
    assert found.confidence < DOUBTFUL
    assert found.K <= gain
    assert found.sigma <= sigma
    assert len(found.reasons) == 1


@pytest.mark.parametrize(
    "mosaic",
    [
        np.full((200, 300), int(BLACK), dtype=np.uint16),
        np.full((200, 300), int(WHITE), dtype=np.uint16),
        np.zeros((200, 300), dtype=np.uint16),
        np.full((1, 1), 700, dtype=np.uint16),
        np.full((20, 26), 700, dtype=np.uint16),
    ],
    ids=["black", "white", "zero", "one pixel", "tiny"],
)
def test_nothing_to_measure_on_gives_the_default_and_says_so(mosaic: NDArray[np.uint16]) -> None:
    found = estimate_self(_planes(mosaic), SCALE)
    assert (found.K, found.sigma) == default_noise(SCALE)
    assert found.confidence == 0.0
    assert len(found.reasons) == 1
    assert math.isfinite(found.K * found.sigma)


def test_a_dark_frame_has_read_noise_and_little_gain() -> None:
    """A lens cap says nothing of the gain; the read noise must still be right."""
    random = np.random.default_rng(9)
    mosaic = np.round(BLACK + random.normal(0, 9.0, (600, 800))).astype(np.uint16)
    found = estimate_self(_planes(mosaic), SCALE)
    assert float(found.variance(0.0)) ** 0.5 == pytest.approx(9.0, rel=0.05)
    assert 0.0 < found.K < 9.0


def test_read_noise_of_half_an_electron_is_believed_in_the_dark() -> None:
    """As of a Nikon D850 that saw an electron a photosite; its noise was taken for half."""
    gain, sigma = 26.6, 13.4
    scene = _scene(700, 1000, seed=7, high=0.006)
    found = estimate_self(_planes(_noisy(scene, gain, sigma)), SCALE)
    assert found.K == pytest.approx(gain, rel=0.15)
    level = float(scene.mean()) * SCALE
    assert float(found.variance(level)) == pytest.approx(gain * level + sigma**2, rel=0.06)


def test_clipped_ends_are_left_out() -> None:
    """White sky and a camera that cuts at black must not bend the line."""
    gain, sigma = 6.0, 9.0
    scene = _scene(700, 1000, seed=4, low=0.0, high=1.6)
    scene[:, :250] = 0.0
    random = np.random.default_rng(3)
    raw = gain * random.poisson(scene * SCALE / gain) + random.normal(0, sigma, scene.shape)
    mosaic = np.clip(np.round(raw), 0, SCALE)  # black at zero: half of the noise is cut there
    planes = pack(torch.from_numpy(mosaic.astype(np.float32)), "RGGB") / SCALE
    found = estimate_self(planes, SCALE)
    assert found.K == pytest.approx(gain, rel=0.05)
    lower = torch.from_numpy(np.minimum(mosaic, 0.8 * SCALE).astype(np.float32))
    clipped = estimate_self(pack(lower, "RGGB") / SCALE, SCALE, clip=0.8)
    assert clipped.K == pytest.approx(gain, rel=0.05)


def test_two_halves_of_one_picture_tell_the_same() -> None:
    planes = _planes(_noisy(_scene(900, 1200, seed=7), 5.0, 6.0))
    left, right = (estimate_self(part, SCALE) for part in planes.chunk(2, dim=2))
    assert left.K == pytest.approx(right.K, rel=0.05)
    assert left.sigma == pytest.approx(right.sigma, rel=0.2)


def test_numbers_set_by_hand_are_not_doubted() -> None:
    found = estimate_self(_planes(_noisy(_scene(300, 300, 1), 3.0, 4.0)), SCALE).by_hand(2.0, 0.0)
    assert found.K == 2.0
    assert 0.0 < found.sigma < 0.01
    assert found.confidence == 1.0


def test_figure(tmp_path: Path) -> None:
    planes = _planes(_noisy(_scene(300, 400, 1), 3.0, 4.0))
    first = estimate_self(planes, SCALE)
    empty = estimate_self(planes[:, :2, :2], SCALE)
    for name, estimate, last in (("a", first, None), ("b", first, first), ("c", empty, None)):
        figure: Figure = draw_noise_figure(tmp_path / f"{name}.png", estimate, last)
        drawn = cv2.imread(str(figure.path))
        assert drawn is not None
        assert drawn.shape == (520, 1040, 3)
        assert drawn.std() > 3.0
        assert f"{estimate.K:.3g}" in figure.alt
