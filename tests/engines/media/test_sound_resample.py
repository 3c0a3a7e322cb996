"""Resampling a stream: no delay, exact lengths, and the way back."""

from __future__ import annotations

import numpy as np
import pytest

from engines.media.sound_resample import Resampler, resample, resampled_length

RATES = [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("other", [16_000, 48_000])
def test_a_tone_keeps_its_time_both_ways(rate: int, other: int) -> None:
    count = rate + 13
    wave = np.sin(2 * np.pi * 1000 * np.arange(count) / rate).astype(np.float32)[None]
    there = Resampler(rate, other, 1)
    parts = [there.process(wave[:, at : at + 777]) for at in range(0, count, 777)]
    parts.append(there.process(wave[:, :0], last=True))
    found = np.concatenate(parts, axis=1)
    assert found.dtype == np.float32
    assert found.shape[1] == resampled_length(count, rate, other)
    np.testing.assert_array_equal(found, resample(wave, rate, other))
    expected = np.sin(2 * np.pi * 1000 * np.arange(found.shape[1]) / other)
    inside = slice(other // 10, -other // 10)
    np.testing.assert_allclose(found[0, inside], expected[inside], atol=1e-6)
    back = Resampler(other, rate, 1).process(found, last=True, length=count)
    assert back.shape == wave.shape
    inside = slice(rate // 10, -rate // 10)
    np.testing.assert_allclose(back[0, inside], wave[0, inside], atol=2e-6)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 80, 441])
def test_the_shortest_sounds_come_back_as_long(count: int) -> None:
    wave = np.ones((6, count), np.float32)
    found = resample(wave, 44_100, 16_000)
    assert found.shape == (6, -(-count * 160 // 441))
    back = Resampler(16_000, 44_100, 6).process(found, last=True, length=count)
    assert back.shape == wave.shape


def test_above_the_new_half_rate_nothing_is_left() -> None:
    tone = np.sin(2 * np.pi * 9000 * np.arange(48_000) / 48_000).astype(np.float32)[None]
    assert np.abs(resample(tone, 48_000, 16_000)[:, 1600:-1600]).max() < 1e-6


def test_equal_rates_change_nothing() -> None:
    wave = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)
    np.testing.assert_array_equal(resample(wave, 44_100, 44_100), wave)


def test_channels_stay_apart() -> None:
    wave = np.zeros((3, 4410), np.float32)
    wave[1] = np.sin(np.arange(4410) / 20)
    found = resample(wave, 44_100, 16_000)
    assert not found[[0, 2]].any()
    assert np.abs(found[1]).max() > 0.9


def test_a_length_that_has_been_passed_is_an_error() -> None:
    resampler = Resampler(16_000, 48_000, 1)
    resampler.process(np.zeros((1, 16_000), np.float32))
    with pytest.raises(ValueError, match="samples more than the length"):
        resampler.process(np.zeros((1, 0), np.float32), last=True, length=10)
