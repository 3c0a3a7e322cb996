"""The losses that stand in for an ear: they order sounds as ESTOI and PESQ do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engines.speech.hearing import disturbance, intelligible
from engines.speech.train import speech_loss
from kernels.stft import Stft

RATE = 16_000
JUDGE = Stft(512, 192, "hann")


def voice() -> Tensor:
    """(1, 32000): harmonics that glide and come in syllables."""
    time = torch.arange(2 * RATE) / RATE
    pitch = 140.0 * time + 8.0 * torch.sin(5.0 * time)
    tones = torch.stack([torch.sin(6.2832 * n * pitch) / n for n in range(1, 30)]).sum(dim=0)
    return (0.1 * tones * (torch.sin(12.0 * time) > -0.2))[None]


def power(wave: Tensor) -> Tensor:
    return JUDGE.forward(wave).abs().square()


def with_hiss(ratio: float) -> Tensor:
    """The voice with white noise `ratio` dB below it."""
    hiss = torch.randn(1, 2 * RATE, generator=torch.Generator().manual_seed(4))
    return voice() + hiss * voice().std() * 10.0 ** (-ratio / 20.0)


def test_a_sound_is_like_itself() -> None:
    clean = power(voice())
    assert float(intelligible(clean, clean)) == pytest.approx(1.0, abs=0.02)
    assert float(disturbance(clean, clean)) < 0.05


def test_less_noise_is_heard_as_better() -> None:
    clean = power(voice())
    heard = [power(with_hiss(ratio)) for ratio in (0.0, 5.0, 10.0, 20.0)]
    alike = [float(intelligible(one, clean)) for one in heard]
    apart = [float(disturbance(one, clean)) for one in heard]
    assert alike == sorted(alike)
    assert alike[0] < 0.9 * alike[-1]
    assert apart == sorted(apart, reverse=True)
    assert apart[0] > 1.5 * apart[-1]


def test_how_loud_it_is_played_does_not_matter() -> None:
    clean, noisy = power(voice()), power(with_hiss(5.0))
    for ear in (intelligible, disturbance):
        torch.testing.assert_close(ear(4.0 * noisy, clean), ear(noisy, clean), rtol=0.02, atol=0.01)


@pytest.mark.parametrize("kind", ["silent", "clean", "short"])
def test_a_loss_of_anything_has_a_gradient(kind: str) -> None:
    clean, noisy = voice(), with_hiss(5.0)
    if kind == "silent":
        clean = torch.zeros_like(clean)
    if kind == "short":
        clean, noisy = clean[:, :2000], noisy[:, :2000]
    estimate = (clean if kind == "clean" else noisy * 0.5).requires_grad_()
    loss = speech_loss(estimate, clean.detach(), noisy)
    loss.backward()
    assert estimate.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(estimate.grad).all()
