"""Loudness against the values of EBU Tech 3341 and of BS.1770-4, at every rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.media.sound_loudness import Loudness


def tone(rate: int, seconds: float, dbfs: float, hertz: float = 1000.0) -> NDArray[np.float64]:
    return 10 ** (dbfs / 20) * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def stereo(wave: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.stack([wave, wave]).astype(np.float32)


def measure(wave: NDArray[np.float32], rate: int, layout: str = "", size: int = 9973) -> Loudness:
    meter = Loudness(rate, len(wave), layout)
    for start in range(0, wave.shape[1], size):
        meter.add(wave[:, start : start + size])
    return meter


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_a_tone_at_every_rate(rate: int) -> None:
    """997 Hz at -23 dBFS in both channels is -23 LUFS (EBU Tech 3341, case 1).

    The bilinear transform bends the shelf a little at other rates than the standard's 48 kHz.
    """
    found = measure(stereo(tone(rate, 10, -23, 997)), rate).integrated()
    assert found == pytest.approx(-23.0, abs=0.005 if rate == 48_000 else 0.06)


def test_full_scale_in_one_channel() -> None:
    assert measure(tone(48_000, 5, 0, 997).astype(np.float32)[None], 48_000).integrated() == (
        pytest.approx(-3.01, abs=0.005)
    )


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(20, -33)], -33.0),  # case 2
        ([(10, -36), (60, -23), (10, -36)], -23.0),  # case 3: the relative gate
        ([(10, -72), (10, -36), (60, -23), (10, -36), (10, -72)], -23.0),  # case 4: both
        ([(20, -26), (20.1, -20), (20, -26)], -23.0),  # case 5
    ],
)
def test_the_gates_of_ebu_tech_3341(parts: Sequence[tuple[float, float]], expected: float) -> None:
    wave = np.concatenate([tone(16_000, seconds, level) for seconds, level in parts])
    measured = measure(stereo(wave), 16_000).integrated()
    offset = measure(stereo(tone(16_000, 10, -23)), 16_000).integrated() + 23  # of this rate
    assert measured - offset == pytest.approx(expected, abs=0.1)


def test_surround_channels_weigh_more_and_rumble_none() -> None:
    """EBU Tech 3341, case 6: -28, -28, -24, none, -30 and -30 dBFS are -23 LUFS."""
    levels = (-28, -28, -24, 0, -30, -30)
    wave = np.stack([tone(48_000, 20, level) for level in levels]).astype(np.float32)
    assert measure(wave, 48_000, "5.1").integrated() == pytest.approx(-23.0, abs=0.1)
    assert measure(wave, 48_000, "5.1(side)").integrated() == pytest.approx(-23.0, abs=0.1)
    assert measure(wave, 48_000).integrated() > -10  # as six equal channels


@pytest.mark.parametrize("size", [3, 100, 4411, 100_000])
def test_blocks_make_no_difference(size: int) -> None:
    rng = np.random.default_rng(0)
    wave = (0.1 * rng.standard_normal((2, 9000))).astype(np.float32)
    found, expected = measure(wave, 11_025, size=size), measure(wave, 11_025, size=9000)
    assert found.integrated() == pytest.approx(expected.integrated(), abs=1e-9)
    assert found.peak == expected.peak
    assert found.true_peak() == pytest.approx(expected.true_peak(), rel=0.02)


def test_silence_and_nothing_have_no_loudness() -> None:
    assert measure(np.zeros((2, 96_000), np.float32), 48_000).integrated() == -math.inf
    assert Loudness(48_000, 2).integrated() == -math.inf
    assert measure(np.full((1, 96_000), 0.5, np.float32), 48_000).integrated() < -30  # an offset
    assert Loudness(48_000, 1).true_peak() == 0.0


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.25, 0.399, 0.4, 0.5])
def test_short_sounds_have_one(seconds: float) -> None:
    found = measure(stereo(tone(48_000, seconds, -20)), 48_000).integrated()
    assert found == pytest.approx(-20, abs=0.3)


def test_the_true_peak_lies_between_samples() -> None:
    """A quarter of the rate, sampled at 45 degrees: every sample is 3 dB below the peak."""
    time = np.arange(48_000)
    fade = np.hanning(48_000)
    wave = (np.sin(2 * np.pi * time / 4 + np.pi / 4) * fade).astype(np.float32)[None]
    for size in (48_000, 500, 7):
        found = measure(wave, 48_000, size=size)
        assert found.peak == pytest.approx(0.7071, abs=1e-3)
        assert found.true_peak() == pytest.approx(1.0, abs=0.01)


def test_the_coefficients_are_those_of_the_standard() -> None:
    """BS.1770-4, tables 1 and 2, by the response at 48 kHz to a click."""
    meter = Loudness(48_000, 1)
    meter.add(np.eye(1, 4800, dtype=np.float32))
    b = [1.53512485958697, -2.69169618940638, 1.19839281085285]
    a = [1.0, -1.69065929318241, 0.73248077421585]
    b2, a2 = [1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621]
    spectrum = np.ones(2401, complex)
    z = np.exp(-2j * np.pi * np.arange(2401) / 4800)
    for top, below in ((b, a), (b2, a2)):
        spectrum *= np.polyval(top[::-1], z) / np.polyval(below[::-1], z)
    power = np.square(np.fft.irfft(spectrum)).sum() / 4800
    assert meter.integrated() == pytest.approx(-0.691 + 10 * math.log10(power), abs=1e-4)
