"""A stream through a model: joins, memory, and the same result for any blocks."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engines.media.sound_read import open_sound
from engines.sound.chunks import Sound
from engines.sound.survey import Survey, survey
from engines.speech.clean import Cleaner
from engines.speech.model import Cut, Noise, SpectralModel, Watch
from engines.speech.params import StormParams
from engines.speech.samplers import bridge
from engines.speech.small import BRIDGE
from tests.engines.speech.make_sound import HOP, blocks, gate, hiss, meter, model, voice

EXAMPLES = Path(__file__).parents[3] / "assets" / "examples" / "speech"
RATE = 16_000


def through(
    sound: Sound, rate: int, made: SpectralModel, size: int = 5000, **params: Any
) -> tuple[Sound, Cleaner]:
    facts = survey(blocks(sound, size), rate, "a.wav", lambda _: None)
    cleaner = Cleaner(facts, rate, made, StormParams(**params), meter())
    pieces = list(cleaner.run(blocks(sound, size)))
    assert np.array_equal(np.concatenate([piece.before for piece in pieces], axis=1), sound)
    return np.concatenate([piece.after for piece in pieces], axis=1), cleaner


def recording() -> Sound:
    """A real, noisy voice of 25 s at 16 kHz."""
    with open_sound(next(path for path in sorted(EXAMPLES.iterdir()))) as reader:
        assert reader.facts.rate in (16_000, 48_000)
        whole = np.concatenate(list(reader.blocks(1 << 16)), axis=1)[:1]
        whole = whole[:, :: reader.facts.rate // RATE]
    return np.tile(whole, -(-25 * RATE // whole.shape[1]))[:, : 25 * RATE]


@pytest.mark.parametrize("size", [997, 10**6])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_blocks_do_not_matter(size: int, rate: int) -> None:
    sound = np.stack([voice(7.0, rate), 0.5 * voice(7.0, rate, 4)])
    sound += np.stack([hiss(sound.shape[1], 0.02, seed) for seed in (1, 2)])
    usual, cleaner = through(sound, rate, model(gate), keep=0.2)
    assert cleaner.plan.count > 2
    other, _ = through(sound, rate, model(gate), size, keep=0.2)
    assert np.allclose(usual, other, atol=1e-5)


def _bridged(y: Tensor, d: Tensor, noise: Noise, watch: Watch) -> Tensor:
    def denoise(x: Tensor, _: Tensor, t: Tensor) -> Tensor:
        return 0.5 * (d + gate(x))

    return bridge(denoise, d, BRIDGE, steps=4, kind="sde", noise=noise)


@pytest.mark.parametrize("made", [model(gate), model(gate, _bridged)], ids=["fast", "drawn"])
def test_joins_are_no_worse_than_the_rest(made: SpectralModel) -> None:
    """Against the whole recording as one chunk; the model looks at all of a chunk."""
    sound = recording()
    in_chunks, cleaner = through(sound, RATE, made)
    whole = replace(made, cut=Cut(2000 * HOP, 16 * HOP, 16 * HOP, 2))
    at_once, alone = through(sound, RATE, whole)
    assert (cleaner.plan.count, alone.plan.count) == (14, 1)
    error = (in_chunks - at_once)[0]
    near = np.zeros(error.size, dtype=bool)
    for number in range(cleaner.plan.count - 1):
        seam = cleaner.plan.seam(number)
        near[seam : seam + cleaner.plan.fade] = True
    power = np.square(error, dtype=np.float64)
    assert float(power[near].mean()) < 1.3 * float(power[~near].mean())
    bend = np.abs(np.diff(in_chunks[0], 3))
    assert float(bend[near[3:]].max()) <= 1.05 * float(bend[~near[3:]].max())


def long(seconds: int, rate: int, channels: int) -> Iterator[Sound]:
    """Seconds of sound, made as they are read."""
    second = np.stack([voice(1.0, rate, k) for k in range(channels)])
    for _ in range(seconds):
        yield second


def test_memory_does_not_grow_with_the_recording() -> None:
    """Peak of what numpy holds, for a minute and for ten."""

    def peak(seconds: int) -> int:
        facts = survey(long(seconds, RATE, 2), RATE, "a.wav", lambda _: None)
        assert facts.samples == seconds * RATE
        cleaner = Cleaner(facts, RATE, model(lambda y: 0.5 * y), StormParams(), meter())
        total = 0
        tracemalloc.start()
        try:
            for piece in cleaner.run(long(seconds, RATE, 2)):
                total += piece.after.shape[1]
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            assert total == seconds * RATE

    with torch.inference_mode():
        minute, longer = peak(60), peak(600)
    assert longer < 1.1 * minute
    assert minute < 60e6


def test_facts_of_the_survey_reach_the_model() -> None:
    """The network hears the recording at its level, without its offset."""
    heard: list[float] = []

    def listen(y: Tensor) -> Tensor:
        heard.append(float(y.abs().max()))
        return y

    for gain in (1.0, 0.01):
        sound = (gain * voice(2.0, RATE) + 0.1)[None].astype(np.float32)
        facts: Survey = survey(blocks(sound), RATE, "a.wav", lambda _: None)
        assert facts.constant
        through(sound, RATE, model(listen))
    assert heard[0] == pytest.approx(heard[1], rel=0.05)
