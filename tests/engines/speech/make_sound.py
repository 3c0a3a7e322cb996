"""Sounds and models for tests: no weights, no file needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engines.sound.chunks import Sound
from engines.sound.progress import Meter
from engines.speech.field import NoiseField
from engines.speech.model import Cut, Sample, SpectralModel, Transform
from kernels.stft import Stft
from studio.bench.job import BenchJob

HOP = 256


def voice(seconds: float, rate: int, seed: int = 0) -> NDArray[np.float32]:
    """(n,) something like speech: syllables of a gliding harmonic tone, pauses, peak 0.5."""
    return _voice(seconds, rate, seed).copy()


@lru_cache
def _voice(seconds: float, rate: int, seed: int) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 120.0 * (1.0 + 0.15 * np.sin(2 * np.pi * 0.7 * time + seed))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    whole = np.zeros_like(time)
    for number in range(1, int(min(7000.0, 0.45 * rate) / 140.0)):
        whole += np.sin(number * phase + random.uniform(0, 6)) / number**0.8
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * time), 0.0, None) ** 0.5
    spoken = (np.sin(2 * np.pi * 0.45 * time + 0.5) > -0.3).astype(np.float64)
    spoken = np.convolve(spoken, np.ones(rate // 50) / (rate // 50), mode="same")
    whole *= syllables * spoken
    return (0.5 * whole / np.abs(whole).max()).astype(np.float32)


def hiss(samples: int, level: float = 0.05, seed: int = 1) -> NDArray[np.float32]:
    """(n,) white noise of standard deviation `level`."""
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def model(
    predict: Callable[[torch.Tensor], torch.Tensor] | None,
    sample: Sample | None = None,
    **changes: Any,
) -> SpectralModel:
    """A model of 16 kHz and short chunks (2.5 s) whose network is a function on spectrograms."""
    made = SpectralModel(
        rate=16_000,
        transform=Transform(Stft(2 * HOP, HOP, "sqrt-hann"), "exponent", 0.5, 0.13),
        cut=Cut(159 * HOP, 16 * HOP, 16 * HOP, 2),
        device="cpu",
        field=NoiseField(0),
        predict=predict,
        sample=sample,
        sample_calls=1,
        guarded=False,
        level="percentile",
    )
    return replace(made, **changes)


def gate(y: torch.Tensor) -> torch.Tensor:
    """A real, if poor, denoiser: keeps what stands above the median of each frequency."""
    modulus = y.abs()
    floor = modulus.median(dim=-1, keepdim=True).values
    return y * (modulus / floor.clamp(min=1e-9) - 1.0).clamp(0.0, 1.0)


def blocks(sound: Sound, size: int = 5000) -> Iterator[Sound]:
    """(C, N) in pieces."""
    for begin in range(0, sound.shape[1], size):
        yield sound[:, begin : begin + size]


def meter() -> Meter:
    """Counts, and never cancels."""
    return Meter(BenchJob(), 0, 100, "testing")
