"""The weights that ship do what they are there for, on a voice and a noise no training heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engines.media.sound_read import open_sound
from engines.media.sound_resample import resample
from engines.speech.choose import choose
from engines.speech.params import Mode, SgmseParams, SpeechParams, StormParams
from engines.speech.recipe import si_sdr
from engines.weights import bundled, load

EXAMPLE = Path(__file__).parents[3] / "assets/examples/speech/voice-beside-a-fan.flac"
RATE = 16_000


class Patient:
    """Watches and never cancels."""

    def check(self) -> None: ...

    def called(self) -> None: ...


def enhanced(wave: NDArray[np.float32], weights: str, params: SpeechParams) -> NDArray[np.float32]:
    file = next(one for one in bundled() if one.id == weights)
    model = choose(load(file, "cpu"), params, "cpu")
    whole = len(wave) // model.hop * model.hop
    gain = 1.0 / float(np.quantile(np.abs(wave), 0.999))
    chunk = torch.from_numpy(wave[None, :whole] * np.float32(gain))
    made = model.enhance(chunk, [0], Patient()).wave[0].numpy()
    return (made / gain).astype(np.float32)


@pytest.fixture(scope="module")
def voice() -> NDArray[np.float32]:
    """What Fast makes of the example: a voice without noise, 16 kHz."""
    with open_sound(EXAMPLE) as sound:
        wave = np.concatenate(list(sound.blocks(1 << 16)), axis=1).mean(axis=0)
        heard = resample(wave[None].astype(np.float32), sound.facts.rate, RATE)[0]
    return enhanced(heard[: 5 * RATE], "storm-small", StormParams(mode="fast"))


@pytest.mark.parametrize("mode", ["fast", "natural"])
def test_hiss_is_taken_away(voice: NDArray[np.float32], mode: Mode) -> None:
    noisy = _with_hiss(voice, 5.0)
    made = enhanced(noisy, "storm-small", StormParams(mode=mode))
    assert si_sdr(voice[: len(made)], made) > 5.0 + 5.0


def test_the_bridge_alone_takes_hiss_away(voice: NDArray[np.float32]) -> None:
    noisy = _with_hiss(voice, 5.0)
    made = enhanced(noisy, "sgmse-small", SgmseParams(mode="natural"))
    assert si_sdr(voice[: len(made)], made) > 5.0 + 4.0


def test_a_clean_voice_stays(voice: NDArray[np.float32]) -> None:
    made = enhanced(voice, "storm-small", StormParams(mode="fast"))
    assert si_sdr(voice[: len(made)], made) > 25.0


def _with_hiss(voice: NDArray[np.float32], ratio: float) -> NDArray[np.float32]:
    hiss = np.random.default_rng(6).standard_normal(len(voice)).astype(np.float32)
    level = np.sqrt(np.mean(voice**2) * 10.0 ** (-ratio / 10.0))
    return (voice + hiss * level).astype(np.float32)
