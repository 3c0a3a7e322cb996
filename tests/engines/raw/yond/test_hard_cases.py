"""Pictures on which denoisers fail: what must stay, and what confidence and notes must say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.denoise import Denoised, denoise, keep_clipped
from engines.raw.yond.params import YondParams
from kernels.bayer import pack
from studio.bench.job import BenchJob
from studio.bench.raw_scenes import SCALE, add_noise

GAIN, SIGMA, SIDE = 6.12, 7.116, 512
Floats = NDArray[np.float32]


def _grid() -> tuple[Floats, Floats]:
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
    return y, x


def _picture(name: str) -> Floats:
    return np.asarray(_drawn(name), dtype=np.float32)


def _drawn(name: str) -> NDArray[np.floating]:
    y, x = _grid()
    random = np.random.default_rng(0)
    if name == "gradient":
        return 0.3 * x
    if name == "dark gradient":
        return 0.3 * x / 32
    if name == "vignette":
        return 0.4 * np.cos(1.1 * np.hypot(x - 0.5, y - 0.5)) ** 4
    if name == "lamp":
        return 0.02 + 3.0 * np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / 0.003)
    if name == "black":
        return np.zeros_like(x)
    grain = cv2.GaussianBlur(random.standard_normal(x.shape).astype(np.float32), (0, 0), 0.8)
    return {"snow": 0.9 + 0.08 * grain, "foliage": 0.2 * np.exp(1.2 * grain)}[name]


def _run(noisy: Floats) -> tuple[Tensor, Denoised]:
    network = BenchJob().load("yond-snrnet").network
    assert isinstance(network, GuidedResUnet)
    planes = pack(torch.from_numpy(noisy), "RGGB")
    return planes, denoise(planes, SCALE, network, YondParams(), BenchJob())


def _of(name: str) -> tuple[Tensor, Denoised]:
    return _run(add_noise(_picture(name), GAIN, SIGMA, seed=1))


@pytest.mark.parametrize("name", ["gradient", "dark gradient", "vignette"])
def test_plain_pictures_are_trusted_and_keep_the_mean_of_their_darkest_tenth(name: str) -> None:
    noisy, done = _of(name)
    assert done.last.confidence > 0.9
    assert done.last.K == pytest.approx(GAIN, rel=0.05)
    assert done.neighbours == pytest.approx(0.0, abs=0.03)
    truth = pack(torch.from_numpy(_picture(name)), "RGGB")
    for before, after, true in zip(noisy, done.planes, truth, strict=True):
        dark = true <= true.flatten().quantile(0.1)
        # The noisy mean is itself known only so well.
        level = float(true[dark].mean())
        scatter = (GAIN * level * SCALE + SIGMA**2) ** 0.5 / SCALE / float(dark.sum()) ** 0.5
        assert float(after[dark].mean()) == pytest.approx(level, abs=0.002 * level + 3.0 * scatter)
        moved = abs(float((after - before)[dark].mean()))
        assert moved < 0.002 * level + 1.5 * scatter


def test_blacks_that_were_cut_are_not_lifted() -> None:
    """As a phone does; without the correction black comes out at 0.4 of the read noise."""
    clean = _picture("dark gradient")
    clean[:, : SIDE // 4] = 0.0
    noisy = add_noise(clean, GAIN, SIGMA, seed=1)
    _, whole = _run(noisy)
    _, done = _run(np.maximum(noisy, 0.0))
    said = [any("keeps nothing below black" in note for note in one.notes) for one in (whole, done)]
    assert said == [False, True]
    assert done.last.K == pytest.approx(GAIN, rel=0.05)
    black = done.planes[:, 8:-8, 8 : SIDE // 8 - 24]
    assert 0.0 <= float(black.mean()) * SCALE < 0.15 * SIGMA
    right = np.s_[:, :, SIDE // 4 :]
    torch.testing.assert_close(
        done.planes[right].mean(), whole.planes[right].mean(), rtol=0.005, atol=0
    )


def test_a_blown_lamp_stays_blown_and_its_surroundings_dark() -> None:
    noisy, done = _of("lamp")
    found = keep_clipped(noisy, done.planes)
    blown = noisy >= 0.9999
    assert int(blown.sum()) > 1000
    assert torch.equal(found[blown], noisy[blown])
    truth = pack(torch.from_numpy(_picture("lamp")), "RGGB")
    far = truth < 0.0201
    assert float((found - truth)[far].abs().max()) * SCALE < 2.0 * (GAIN * 320 + SIGMA**2) ** 0.5


def test_a_black_frame_stays_black() -> None:
    noisy, done = _of("black")
    assert done.last.confidence < 0.5  # nothing tells its gain
    assert float(done.planes.mean()) * SCALE == pytest.approx(0.0, abs=0.1)
    assert float(done.planes.std()) < 0.25 * float(noisy.std())


@pytest.mark.parametrize("name", ["snow", "foliage"])
def test_texture_everywhere_is_admitted_and_spared(name: str) -> None:
    noisy, done = _of(name)
    assert done.last.confidence < 0.1
    assert any("cautious default" in note for note in done.notes)
    assert float((done.planes - noisy).std()) * SCALE < 0.5 * (GAIN * 0.2 * SCALE) ** 0.5 + SIGMA


def test_what_was_denoised_before_is_told_of_and_treated_gently() -> None:
    noisy = add_noise(_picture("gradient"), GAIN, SIGMA, seed=1)
    for y in (0, 1):
        for x in (0, 1):
            plane = np.ascontiguousarray(noisy[y::2, x::2])
            noisy[y::2, x::2] = cv2.medianBlur(plane, 3)
    _, done = _run(noisy)
    assert done.neighbours is not None
    assert done.neighbours > 0.3
    assert any("noise reduction or lossy compression" in note for note in done.notes)
    assert done.last.confidence < 0.6
