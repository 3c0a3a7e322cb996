from __future__ import annotations

import numpy as np
import pytest

from studio.bench.voices import measures
from studio.bench.voices.measures import RATE, Wave


def noise(seed: int, length: int = RATE) -> Wave:
    return np.random.default_rng(seed).standard_normal(length).astype(np.float32) * np.float32(0.1)


@pytest.mark.parametrize("snr", [-5.0, 0.0, 15.0])
def test_mixing_gives_the_ratio_without_dc(snr: float) -> None:
    speech, sound = noise(1) + np.float32(0.3), noise(2, 5_000) - np.float32(0.2)
    mixture, clean = measures.mix(speech, sound, snr, start=1234)
    added = mixture.astype(np.float64) - clean
    assert 10.0 * np.log10(np.mean(clean**2.0) / np.mean(added**2)) == pytest.approx(snr, abs=1e-3)
    assert abs(clean.mean()) < 1e-6
    assert abs(added.mean()) < 1e-6
    assert mixture.dtype == clean.dtype == np.float32


def test_mixing_never_goes_over_the_peak_and_scales_both_alike() -> None:
    speech, sound = noise(1) * 9, noise(2)
    mixture, clean = measures.mix(speech, sound, 0.0)
    assert np.abs(mixture).max() == pytest.approx(0.9, abs=1e-6)
    wanted = speech - speech.mean()
    assert np.corrcoef(clean, wanted)[0, 1] == pytest.approx(1.0, abs=1e-6)
    quiet, _ = measures.mix(noise(1) / 100, sound, 0.0)
    assert np.abs(quiet).max() < 0.1, "what is quiet is left quiet"


def test_noise_repeats_from_its_start() -> None:
    sound = np.array([1, -1, 2, -2], dtype=np.float32)
    mixture, clean = measures.mix(noise(1, 10), sound, -40.0, start=2)
    added = (mixture - clean) / (mixture - clean)[0]
    assert added == pytest.approx(np.resize([2, -2, 1, -1], 10) / 2, rel=0.01)


@pytest.mark.parametrize("by", [-700, -1, 0, 320])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_lag_is_found_and_taken_out(by: int, sign: int) -> None:
    speech = noise(3)
    late = np.float32(sign) * measures.shift(speech, -by, len(speech)) + noise(4) / 2
    assert measures.lag(speech, late) == by
    back = measures.shift(late, by, len(speech))
    assert len(back) == len(speech)
    assert measures.lag(speech, back) == 0


def test_si_sdr_of_orthogonal_noise_is_its_ratio_at_any_gain() -> None:
    t = np.arange(RATE) / RATE
    speech = np.sin(2 * np.pi * 100 * t).astype(np.float32)
    error = np.sin(2 * np.pi * 200 * t).astype(np.float32) * np.float32(0.1)
    assert measures.si_sdr(speech, 3 * (speech + error)) == pytest.approx(20.0, abs=1e-3)
    assert measures.si_sdr(speech, -(speech + error)) == pytest.approx(20.0, abs=1e-3)
    assert measures.si_sdr(np.zeros_like(speech), error) is None


def test_si_sdr_keeps_the_mean() -> None:
    speech = noise(5) - noise(5).mean()
    moved = speech + np.float32(0.1)  # as strong as the speech, and orthogonal to it
    assert measures.si_sdr(speech, moved) == pytest.approx(0.0, abs=0.1)


def test_log_spectral_distance_of_a_gain_is_the_gain() -> None:
    assert measures.log_spectral_distance(noise(6), noise(6)) == 0.0
    assert measures.log_spectral_distance(noise(6), noise(6) * 2) == pytest.approx(6.02, abs=0.01)


def test_level() -> None:
    assert measures.level(np.full(100, 0.1, np.float32)) == pytest.approx(-20.0, abs=1e-4)
    assert measures.level(np.zeros(100, np.float32)) == pytest.approx(-200.0)


def test_a_mean_with_its_interval() -> None:
    found = measures.mean([1.0, None, 3.0, float("nan")])
    assert found is not None
    assert (found.value, found.count) == (2.0, 2)
    assert found.half == pytest.approx(1.96 * np.sqrt(2.0) / np.sqrt(2.0))
    assert measures.mean([None]) is None
    alone = measures.mean([4.0])
    assert alone is not None
    assert alone.half == 0.0
