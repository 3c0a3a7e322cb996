"""Degradations: kernels, the two stages, and the clean operator."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from engines.superres.degrade.kernels import Blur, draw_kernel, draw_last, gaussian, plateau, sinc
from engines.superres.degrade.operator import Bicubic
from engines.superres.degrade.practical import full, half


def _picture(side: int = 96) -> np.ndarray:
    random = np.random.default_rng(3)
    coarse = random.random((side // 8, side // 8, 3), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)).clip(0, 1)


def test_every_kernel_is_odd_and_keeps_brightness() -> None:
    random = np.random.default_rng(1)
    for _ in range(200):
        kernel = draw_kernel(random, Blur(19, (0.2, 3.0)))
        assert kernel.shape[0] == kernel.shape[1]
        assert kernel.shape[0] % 2 == 1
        assert 3 <= kernel.shape[0] <= 19
        assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
        assert draw_last(random).sum() == pytest.approx(1.0, abs=1e-5)


def test_gaussian_has_the_asked_width_along_its_axis() -> None:
    kernel = gaussian(41, (4.0, 2.0), 0.0)
    axis = np.arange(41) - 20
    assert np.sqrt((kernel.sum(0) * axis**2).sum()) == pytest.approx(4.0, rel=0.01)
    assert np.sqrt((kernel.sum(1) * axis**2).sum()) == pytest.approx(2.0, rel=0.01)
    turned = gaussian(41, (4.0, 2.0), np.pi / 2)
    assert np.allclose(turned, kernel.T, atol=1e-7)


def test_plateau_falls_slower_and_sinc_rings() -> None:
    near = gaussian(21, (2.0, 2.0), 0.0)
    flat = plateau(21, (2.0, 2.0), 0.0, 1.0)
    assert flat[10, 20] > near[10, 20]
    assert sinc(13, np.pi / 3).min() < 0.0


def test_sinc_keeps_what_is_under_the_cut_off_only() -> None:
    x = np.arange(256)
    kernel = sinc(21, np.pi / 2)
    for frequency, low, high in ((0.2 * np.pi, 0.85, 1.15), (0.9 * np.pi, 0.0, 0.15)):
        wave = np.tile(np.cos(frequency * x), (256, 1)).astype(np.float32)
        out = np.asarray(cv2.filter2D(wave, cv2.CV_32F, kernel))[100:150, 100:150]
        ratio = out.std() / wave[100:150, 100:150].std()
        assert low <= ratio <= high


def test_worn_pictures_have_the_size_the_range_and_eight_bits() -> None:
    picture = _picture()
    for ways in (full(4), half(4), half(2)):
        for seed in range(12):
            worn = ways.wear(picture, np.random.default_rng(seed))
            side = 96 // ways.scale
            assert worn.shape == (side, side, 3)
            assert worn.dtype == np.float32
            assert worn.min() >= 0.0
            assert worn.max() <= 1.0
            assert np.allclose(worn * 255.0, (worn * 255.0).round(), atol=1e-4)


def test_wearing_repeats_by_its_seed_and_half_the_range_wears_less() -> None:
    picture = _picture()
    one, two = (half(4).wear(picture, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one, two)
    clean = Bicubic(4).measure(torch.from_numpy(picture).permute(2, 0, 1)[None])[0]
    clean = clean.permute(1, 2, 0).numpy()

    def error(ways: object) -> float:
        return float(
            np.mean(
                [
                    np.abs(ways.wear(picture, np.random.default_rng(s)) - clean).mean()  # type: ignore[attr-defined]
                    for s in range(30)
                ]
            )
        )

    assert error(half(4)) < 0.9 * error(full(4))


def test_bicubic_measures_as_pillow_does() -> None:
    picture = _picture()[:, :, 0]
    ours = Bicubic(4).measure(torch.from_numpy(picture)[None, None])[0, 0].numpy()
    theirs = np.asarray(Image.fromarray(picture).resize((24, 24), Image.Resampling.BICUBIC))
    assert np.abs(ours - theirs).max() < 1e-5


def test_bicubic_is_linear_and_differentiable() -> None:
    a, b = torch.rand(2, 1, 3, 32, 32, dtype=torch.float64)
    operator = Bicubic(4)
    both = operator.measure(2.0 * a + b)
    assert torch.allclose(both, 2.0 * operator.measure(a) + operator.measure(b), atol=1e-12)
    a.requires_grad_()
    y = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    (operator.measure(a) * y).sum().backward()
    assert a.grad is not None
    # <A x, y> = <x, A' y>, with A' y out of automatic differentiation
    assert float((operator.measure(b) * y).sum()) == pytest.approx(float((b * a.grad).sum()))
