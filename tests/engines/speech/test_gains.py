"""What follows a recording: its facts, its curves, its limiter."""

from __future__ import annotations

import numpy as np
import pytest

from engines.base import UserError
from engines.sound.survey import Levels, survey
from engines.speech.curves import Curve
from engines.speech.limiter import Limiter, true_peaks
from tests.engines.speech.make_sound import blocks, hiss, voice

RATE = 16_000


def test_survey_of_any_blocks() -> None:
    left = voice(4.0, RATE) + 0.1
    right = np.clip(3.0 * voice(4.0, RATE, seed=2), -1.0, 1.0)
    sound = np.stack([left, right]).astype(np.float32)
    flat = "".join("x" if value >= 0.999 else "." for value in np.abs(right))
    full = sum(len(run) for run in flat.split(".") if len(run) >= 3) / len(flat)
    assert 0.001 < full < 0.9 * flat.count("x") / len(flat)
    for size in (1000, 37, 10**6):
        found = survey(blocks(sound, size), RATE, "a.wav", lambda _: None)
        assert (found.samples, found.channels) == (64_000, 2)
        assert found.offset == pytest.approx(sound.mean(axis=1), abs=1e-6)
        assert found.constant
        assert found.peak == pytest.approx(1.0, abs=0.01)
        assert found.clipped == pytest.approx(full, abs=1e-9)
        assert not found.opposed


def test_a_click_does_not_set_the_level() -> None:
    sound = 0.1 * voice(4.0, RATE)[None]
    quiet = survey(blocks(sound), RATE, "a.wav", lambda _: None)
    sound[0, 30_000] = 1.0
    found = survey(blocks(sound), RATE, "a.wav", lambda _: None)
    assert found.peak == pytest.approx(1.0, abs=0.01)
    assert found.reference("peak") < 0.25
    assert found.reference("percentile") == pytest.approx(quiet.reference("percentile"), rel=0.05)
    assert found.reference("percentile") == pytest.approx(
        float(np.quantile(np.abs(sound), 0.999)), rel=0.06
    )


def test_opposed_channels_are_found() -> None:
    wave = voice(2.0, RATE)
    assert survey([np.stack([wave, -wave])], RATE, "a.wav", lambda _: None).opposed
    assert not survey([np.stack([wave, 0 * wave])], RATE, "a.wav", lambda _: None).opposed


def test_no_sample_is_refused() -> None:
    with pytest.raises(UserError, match=r"no sound in a\.wav"):
        survey([], RATE, "a.wav", lambda _: None)


@pytest.mark.parametrize("decibels", [0.0, 10.0, 20.0, 30.0])
def test_blind_ratio(decibels: float) -> None:
    speech = voice(20.0, RATE)
    active = np.sqrt(np.mean(speech[np.abs(speech) > 0.01] ** 2))
    sound = speech + hiss(len(speech), float(active) * 10 ** (-decibels / 20))
    levels = Levels(RATE)
    for block in blocks(sound[None], 777):
        levels.add(block)
    assert levels.snr == pytest.approx(decibels, abs=3.0)


def curve_of(before: np.ndarray, after: np.ndarray, size: int, **settings: float) -> np.ndarray:
    curve = Curve(RATE, reach=0.03, hold=0.05, pooled=True, **settings)
    out: list[np.ndarray] = []
    done, count = 0, before.shape[1]
    for begin in range(0, count, size):
        end = min(begin + size, count)
        curve.push(before[:, begin:end], after[:, begin:end], last=end == count)
        known = min(curve.known(), end)
        if known > done:
            out.append(curve.at(np.arange(done, known, dtype=np.float64) + 0.5))
            done = known
    assert done == count
    return np.concatenate(out, axis=1)


def test_a_curve_is_the_same_for_any_blocks_and_follows_the_gain() -> None:
    before = hiss(3 * RATE, 0.1)[None]
    gain = np.where(np.arange(3 * RATE) < RATE, 1.0, 0.1).astype(np.float32)
    curves = [curve_of(before, before * gain, size) for size in (160, 999, 3 * RATE)]
    for other in curves[1:]:
        assert np.allclose(curves[0], other, atol=1e-6)
    assert np.allclose(curves[0][0, : RATE - 2000], 1.0, atol=1e-5)
    assert np.allclose(curves[0][0, RATE + 3000 :], 0.1, atol=1e-3)


def test_a_curve_above_a_frequency_hears_nothing_below() -> None:
    time = np.arange(2 * RATE) / RATE
    low = np.sin(2 * np.pi * 500 * time)
    high = 0.1 * np.sin(2 * np.pi * 6000 * time)
    before = (low + high)[None].astype(np.float32)
    after = (low + 0.25 * high)[None].astype(np.float32)
    found = curve_of(before, after, 4000, above=4000.0)
    assert np.allclose(found[0, 1000:-1000], 0.25, atol=0.02)


@pytest.mark.parametrize("size", [64, 1000, 10**6])
def test_the_limiter_touches_peaks_alone(size: int) -> None:
    sound = np.stack([voice(2.0, RATE), voice(2.0, RATE, 5)]) * np.float32(1.2)
    sound[:, 12_000:12_010] = 1.7
    limiter = Limiter(RATE, 1.0)
    out = [limiter.push(block) for block in blocks(sound, size)]
    out.append(limiter.push(np.zeros((2, 0), np.float32), last=True))
    whole = np.concatenate(out, axis=1)
    assert whole.shape == sound.shape
    assert float(np.abs(whole).max()) <= 1.0
    assert float(np.abs(whole[:, 12_000:12_010]).min()) > 0.99
    far = np.ones(sound.shape[1], dtype=bool)
    far[11_700:12_300] = False
    assert np.array_equal(whole[:, far], sound[:, far])
    assert 10 <= limiter.limited < 700
    gain = whole[0, 11_700:12_300] / sound[0, 11_700:12_300]
    steps = np.abs(np.diff(gain[np.abs(sound[0, 11_700:12_300]) > 0.01]))
    assert float(steps.max()) < 0.05, "no step in the gain"


def test_peaks_between_the_samples() -> None:
    """A sine at a quarter of the rate whose samples all miss its crest by 3 dB."""
    wave = np.sin(np.pi / 2 * np.arange(4000) + np.pi / 4).astype(np.float32)[None]
    assert float(np.abs(wave).max()) == pytest.approx(0.7071, abs=1e-3)
    assert float(true_peaks(wave)[100:-100].max()) == pytest.approx(1.0, abs=0.03)
    limiter = Limiter(RATE, 0.8, between=True)
    out = limiter.push(wave, last=True)
    assert float(true_peaks(out)[200:-200].max()) == pytest.approx(0.8, abs=0.03)
