"""Chunks that cover a recording, joined without a trace; noise that knows no chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engines.sound.chunks import ChunkPlan, Cutter, Joiner, Sound
from engines.speech.field import NoiseField
from tests.engines.speech.make_sound import blocks


def plan(total: int) -> ChunkPlan:
    return ChunkPlan(total, hop=10, length=200, margin=20, fade=30, least=50)


def through(sound: Sound, size: int) -> tuple[Sound, list[tuple[int, int]]]:
    """Cut and join unchanged; also start and length of each chunk."""
    made = plan(sound.shape[1])
    cutter, joiner = Cutter(made), Joiner(made)
    out: list[Sound] = []
    seen: list[tuple[int, int]] = []
    pieces = list(blocks(sound, size))
    for place, block in enumerate(pieces):
        for number, chunk in cutter.push(block, last=place == len(pieces) - 1):
            seen.append((made.start(number), chunk.shape[1]))
            out.append(joiner.push(number, chunk))
    return np.concatenate(out, axis=1), seen


@pytest.mark.parametrize("total", [1, 9, 49, 50, 199, 200, 201, 330, 331, 1000, 1234])
@pytest.mark.parametrize("size", [1, 7, 130, 5000])
def test_every_sample_comes_back_in_its_place(total: int, size: int) -> None:
    sound = np.arange(2 * total, dtype=np.float32).reshape(2, total)
    out, seen = through(sound, size)
    assert np.array_equal(out, sound)
    assert len({length for _, length in seen}) == 1, "equal chunks, or normalisation differs"
    assert all(start % 10 == 0 for start, _ in seen)
    assert len(seen) == plan(total).count


def test_margins_are_thrown_away_and_results_fade() -> None:
    """What a network does to a chunk's borders is not heard; between chunks there is no step."""
    made = plan(1000)
    cutter, joiner = Cutter(made), Joiner(made)
    out: list[Sound] = []
    for number, chunk in cutter.push(np.zeros((1, 1000), np.float32), last=True):
        chunk[:] = float(number)
        if number:
            chunk[:, :20] = 1e6
        if number < made.count - 1:
            chunk[:, -20:] = 1e6
        out.append(joiner.push(number, chunk))
    whole = np.concatenate(out, axis=1)[0]
    assert whole.max() == made.count - 1
    assert 0.0 < np.abs(np.diff(whole)).max() <= 1.0 / 30 + 1e-6


def test_the_cutter_keeps_no_more_than_a_chunk_and_a_block() -> None:
    made = plan(100_000)
    cutter = Cutter(made)
    most = 0
    for block in blocks(np.zeros((1, 100_000), np.float32), 64):
        for _ in cutter.push(block):
            pass
        most = max(most, sum(part.shape[1] for part in cutter._kept))
    assert most <= 200 + 64


def test_noise_is_of_frames_and_not_of_chunks() -> None:
    field = NoiseField(3)
    whole = field.frames(2, 0, 300, 17)
    for first, count in [(0, 1), (63, 2), (64, 64), (100, 150)]:
        assert torch.equal(field.frames(2, first, count, 17), whole[:, first : first + count])
    assert torch.equal(NoiseField(3).frames(2, 0, 300, 17), whole)


def test_noise_is_standard_and_independent() -> None:
    field = NoiseField(0)
    first = field.frames(0, 0, 512, 257)
    assert float(first.abs().square().mean()) == pytest.approx(1.0, abs=0.01)
    assert float(first.real.square().mean()) == pytest.approx(0.5, abs=0.01)
    for other in (field.frames(1, 0, 512, 257), NoiseField(1).frames(0, 0, 512, 257)):
        assert abs(float((first * other.conj()).mean().abs())) < 0.02
    assert abs(float((first[:, :448] * first[:, 64:].conj()).mean().abs())) < 0.02
