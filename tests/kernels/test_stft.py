"""STFT against torch's, both ways and at every length; compression and its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import pytest
import torch

from kernels.stft import Stft, compress, expand

SETTINGS: list[tuple[int, int, Literal["hann", "sqrt-hann"]]] = [
    (510, 128, "hann"),
    (1534, 384, "hann"),
    (512, 256, "sqrt-hann"),
]


@pytest.mark.parametrize(("n_fft", "hop", "window"), SETTINGS)
@pytest.mark.parametrize("samples", [1, 2, 200, 255, 256, 257, 1000, 16000, 16383])
def test_there_and_back(
    n_fft: int, hop: int, window: Literal["hann", "sqrt-hann"], samples: int
) -> None:
    stft = Stft(n_fft, hop, window)
    wave = torch.randn(2, 3, samples).clamp(-3, 3) / 3
    spec = stft.forward(wave)
    assert spec.shape == (2, 3, stft.bins, stft.frames(samples))
    assert spec.dtype == torch.complex64
    back = stft.inverse(spec, samples)
    assert back.shape == wave.shape
    error = (back - wave).abs()
    whole = samples // hop * hop  # beyond it the sound hangs on one frame's falling window
    assert float(error[..., : max(whole, 1)].max()) < 1e-6
    assert float(error.max()) < 1e-5


def test_the_same_as_written_out() -> None:
    """Frame j is the windowed sound around sample j hop."""
    stft = Stft(510, 128)
    wave = torch.randn(4000, dtype=torch.float64)
    spec = stft.forward(wave)
    n = torch.arange(510, dtype=torch.float64)
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * n / 510)
    frame = wave[10 * 128 - 255 : 10 * 128 + 255] * window
    assert torch.allclose(spec[:, 10], torch.fft.rfft(frame), atol=1e-10)
    mirrored = torch.cat([wave[1:256].flip(0), wave[:255]]) * window
    assert torch.allclose(spec[:, 0], torch.fft.rfft(mirrored), atol=1e-10)


def test_squared_window_adds_to_one() -> None:
    square = Stft(512, 256, "sqrt-hann").shape(dtype=torch.float64).square()
    assert torch.allclose(square[:256] + square[256:], torch.ones(256, dtype=torch.float64))


@pytest.mark.parametrize(("exponent", "factor"), [(0.5, 0.15), (0.667, 0.065), (1.0, 1.0)])
def test_compression(exponent: float, factor: float) -> None:
    spec = torch.randn(2, 5, 7, dtype=torch.complex64) * torch.logspace(-6, 3, 7)
    small = compress(spec, exponent, factor)
    assert torch.allclose(small.abs(), factor * spec.abs() ** exponent, rtol=1e-5)
    assert torch.allclose(small.angle(), spec.angle(), atol=1e-5)
    back = expand(small, exponent, factor)
    assert float(((back - spec).abs() / spec.abs()).max()) < 1e-5


@pytest.mark.parametrize("change", [compress, expand])
def test_zero_stays_zero_and_has_a_gradient(
    change: Callable[[torch.Tensor, float, float], torch.Tensor],
) -> None:
    spec = torch.zeros(3, dtype=torch.complex64, requires_grad=True)
    out = change(spec, 0.5, 0.15)
    assert torch.equal(out.detach(), torch.zeros(3, dtype=torch.complex64))
    (out.real.sum() + out.imag.sum()).backward()  # pyright: ignore[reportUnknownMemberType]
    assert spec.grad is not None
    assert float(spec.grad.abs().max()) < 1000.0  # NaN fails too
