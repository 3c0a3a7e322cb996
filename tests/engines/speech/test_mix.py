"""Rooms, made noise and mixtures: what a network learns from is what it is said to be."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.speech.made_noise import MAKERS, Maker, made
from engines.speech.mix import Mixer, level_gain
from engines.speech.rooms import early, room
from engines.training.sounds import RATE, Sounds

SAMPLES = 2 * RATE


@pytest.fixture(scope="module")
def mixer() -> Mixer:
    random = np.random.default_rng(2)
    time = np.arange(RATE) / RATE
    voices = {
        name: [(8000 * np.sin(2 * np.pi * pitch * time)).astype(np.int16) for _ in range(3)]
        for name, pitch in (("low", 120.0), ("high", 260.0))
    }
    noises = {"hiss": [(3000 * random.standard_normal(RATE)).astype(np.int16)]}
    return Mixer(Sounds(voices), Sounds(noises), SAMPLES, rooms=3)


@pytest.mark.parametrize("decay", [0.3, 0.6, 1.0])
def test_a_room_decays_as_it_should(decay: float) -> None:
    measured = [_t60(room(np.random.default_rng(seed), RATE, decay)) for seed in range(6)]
    assert np.median(measured) == pytest.approx(decay, rel=0.25)


def test_a_room_begins_with_the_direct_sound() -> None:
    response = room(np.random.default_rng(1), RATE, 0.5)
    assert response[0] == 1.0
    assert np.isfinite(response).all()


def test_early_keeps_the_beginning_alone() -> None:
    response = room(np.random.default_rng(1), RATE, 0.5)
    kept = early(response, RATE, 50.0)
    assert len(kept) == 800
    np.testing.assert_array_equal(kept[:533], response[:533])
    assert kept[-1] == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("maker", [maker for maker, _ in MAKERS])
def test_made_noise_is_finite_and_sounds(maker: Maker) -> None:
    for seed in range(4):
        wave = maker(np.random.default_rng(seed), SAMPLES, RATE)
        assert wave.shape == (SAMPLES,)
        assert wave.dtype == np.float32
        assert np.isfinite(wave).all()
        assert np.abs(wave).max() > 0.0


def test_made_noise_is_the_same_for_a_seed() -> None:
    one, two = (made(np.random.default_rng(5), SAMPLES, RATE) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_examples_span_the_ratios_and_keep_both_tasks(mixer: Mixer) -> None:
    random = np.random.default_rng(4)
    examples = [mixer.example(random) for _ in range(120)]
    ratios = [
        10 * np.log10(np.mean(e.clean**2) / np.mean((e.noisy - e.clean) ** 2))
        for e in examples
        if e.clean.any()
    ]
    assert np.percentile(ratios, 10) < 0.0
    assert np.percentile(ratios, 90) > 13.0
    assert any(not e.clean.any() for e in examples)
    assert {e.dry for e in examples} == {0.0, 1.0}
    for example in examples:
        assert example.noisy.shape == example.clean.shape == (SAMPLES,)
        assert np.isfinite(example.noisy).all()


def test_the_same_seed_gives_the_same_example(mixer: Mixer) -> None:
    one, two = (mixer.example(np.random.default_rng(8)) for _ in range(2))
    np.testing.assert_array_equal(one.noisy, two.noisy)


def test_studio_voices_are_drawn_more_often() -> None:
    rng = np.random.default_rng(3)
    waves = [(4000 * rng.standard_normal(RATE)).astype(np.int16)]
    silent = [np.zeros(RATE, np.int16)]
    voices = Sounds({"asterisk-core-sounds-en-g722": waves, "klettres-da": silent})
    mixer = Mixer(voices, Sounds({"hiss": waves}), SAMPLES, rooms=1)
    sounding = sum(bool(mixer.voice(rng).any()) for _ in range(60))
    assert sounding > 45


def test_short_noises_are_struck_at_random_times() -> None:
    rng = np.random.default_rng(3)
    knock = (20000 * np.exp(-np.arange(800) / 100.0)).astype(np.int16)
    voices = Sounds({"low": [np.ones(RATE, np.int16)]})
    mixer = Mixer(voices, Sounds({"knocks": [knock] * 8}), SAMPLES, rooms=1)
    waves = [mixer.noise(rng) for _ in range(30)]
    assert all(np.isfinite(wave).all() and wave.shape == (SAMPLES,) for wave in waves)


def test_the_level_is_one_click_proof() -> None:
    wave = np.full(RATE, 0.1)
    wave[100] = 1.0
    assert level_gain(wave) == pytest.approx(10.0)
    assert level_gain(np.zeros(RATE)) == 1.0


def _t60(response: NDArray[np.float32]) -> float:
    """Decay from -5 to -25 dB of the backward-integrated energy (Schroeder), times three."""
    energy = np.cumsum(response[::-1].astype(float) ** 2)[::-1]
    level = 10.0 * np.log10(energy / energy[0] + 1e-12)
    start, end = (int(np.argmax(level < decibels)) for decibels in (-5.0, -25.0))
    return 3.0 * (end - start) / RATE
