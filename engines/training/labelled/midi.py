"""Phrases on the instruments of a General MIDI sound font: melodies, chords, basses, rhythms.

Needs `tinysoundfont`, which plays a sound font without a sound card; only training needs it.
Played at 48 kHz and brought to 16 kHz after: the player does not filter what it resamples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from engines.base import UserError
from engines.training.sounds import RATE

_PLAYED = 48_000
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10))
_CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 11), (0, 5, 7), (0, 3, 7, 10), (0, 12), (0, 7))
# Lowest and highest note of programs, from General MIDI's first of each range on.
_RANGES = {
    0: (36, 88), 8: (72, 103), 11: (53, 89), 12: (48, 89), 14: (60, 77), 15: (55, 84),
    16: (36, 84), 21: (53, 86), 24: (40, 79), 32: (28, 52), 40: (55, 93), 41: (48, 84),
    42: (36, 70), 43: (28, 52), 44: (45, 88), 46: (36, 94), 47: (38, 57), 48: (40, 88),
    52: (48, 77), 56: (55, 82), 57: (40, 69), 58: (28, 55), 59: (55, 82), 60: (41, 74),
    61: (43, 79), 64: (56, 85), 65: (49, 79), 66: (44, 74), 67: (37, 67), 68: (58, 88),
    69: (52, 79), 70: (35, 70), 71: (50, 89), 72: (74, 103), 73: (60, 93), 75: (60, 89),
    80: (48, 88), 88: (43, 84), 104: (48, 79), 108: (53, 84), 109: (58, 77), 110: (55, 88),
    112: (60, 84), 122: (48, 72),
}  # fmt: skip
# Programs that sound several notes at once as a rule, sometimes, or never.
_CHORDAL = {*range(8), *range(16, 32), 46, *range(48, 56), 61, 62, 63, *range(88, 96)}
_SUSTAINED = {*range(16, 24), *range(40, 45), *range(48, 80), *range(88, 96), 109, 110}
_EFFECTS = {*range(120, 128)}


class Player:
    """One sound font, loaded.

    Raises:
        UserError: the player is not installed, or the file is no sound font.
    """

    def __init__(self, font: Path) -> None:
        try:
            import tinysoundfont
        except ImportError as error:
            raise UserError("Playing a sound font needs: pip install tinysoundfont") from error
        self._synth = tinysoundfont.Synth(gain=-6, samplerate=_PLAYED)
        try:
            self._font = self._synth.sfload(str(font))
        except Exception as error:  # the player raises a plain Exception of its own
            raise UserError(f"{font.name} is no sound font that can be read") from error

    def has(self, program: int, drums: bool = False) -> bool:
        """Whether the font has that program."""
        found = self._synth.sfpreset_name(self._font, 128 if drums else 0, program)
        return found is not None

    def phrase(
        self, programs: tuple[int, ...], random: np.random.Generator, seconds: float
    ) -> NDArray[np.float32]:
        """A melody, chords, or both, on one of the programs; (seconds * 16000,) float32."""
        program = int(programs[int(random.integers(len(programs)))])
        self._synth.program_select(0, self._font, 0, program)
        return self._play(_score(program, random, seconds), 0, seconds)

    def drums(
        self, notes: tuple[int, ...], random: np.random.Generator, seconds: float, kit: bool
    ) -> NDArray[np.float32]:
        """A rhythm on these drums, all of them at once as a drummer plays where it is a kit."""
        self._synth.program_select(9, self._font, 128, 0, True)
        if kit:
            score = _kit_score(notes, random, seconds)
        else:
            chosen = random.choice(notes, size=min(len(notes), 2), replace=False)
            score = [
                (time, time + 0.3, int(chosen[int(random.integers(len(chosen)))]), loud)
                for time, loud in rhythm(random, seconds)
            ]
        return self._play(score, 9, seconds)

    def _play(
        self, score: list[tuple[float, float, int, float]], channel: int, seconds: float
    ) -> NDArray[np.float32]:
        events = [(begin, 1, note, loud) for begin, _, note, loud in score]
        events += [(end, 0, note, 0.0) for _, end, note, _ in score]
        parts, place = [], 0.0
        for time, on, note, loud in [*sorted(events), (seconds, 0, -1, 0.0)]:
            time = min(time, seconds)
            count = round((time - place) * _PLAYED)
            if count > 0:
                parts.append(np.frombuffer(bytes(self._synth.generate(count)), np.float32))
                place = time
            if on:
                self._synth.noteon(channel, note, int(np.clip(loud * 127, 1, 127)))
            elif note >= 0:
                self._synth.noteoff(channel, note)
        self._synth.sounds_off()
        self._synth.generate(_PLAYED // 10)  # what still rings
        wave = np.concatenate(parts).reshape(-1, 2).mean(axis=1)
        return np.asarray(soxr.resample(wave, _PLAYED, RATE), dtype=np.float32)


def rhythm(random: np.random.Generator, seconds: float) -> list[tuple[float, float]]:
    """Times in seconds and loudness 0..1 of blows: a repeated bar, a roll, or loose blows."""
    kind = random.random()
    if kind < 0.2:  # loose
        gaps = random.exponential(random.uniform(0.15, 0.7), size=64) + 0.05
        times = np.cumsum(gaps) - gaps[0]
    elif kind < 0.3:  # even, as a roll, steps or knocks
        times = np.arange(0.0, seconds, random.uniform(0.07, 0.6))
        times = times + random.normal(0.0, 0.008, times.shape)
    else:
        step = 60.0 / random.uniform(70.0, 165.0) / random.choice([1, 2, 2, 4])
        bar = random.random(int(random.choice([4, 6, 8, 8, 16]))) < random.uniform(0.25, 0.9)
        bar[0] = True
        grid = np.arange(int(seconds / step) + 1)
        times = grid[bar[grid % len(bar)]] * step + random.uniform(0.0, 0.3)
    loud = np.clip(random.normal(0.75, 0.15, times.shape), 0.2, 1.0)
    return [(float(t), float(v)) for t, v in zip(times, loud, strict=True) if 0 <= t < seconds]


def _kit_score(
    notes: tuple[int, ...], random: np.random.Generator, seconds: float
) -> list[tuple[float, float, int, float]]:
    """Hi-hat on every step, bass and snare in turn, the others now and then."""
    kick, snare, hat, *others = notes
    step = 60.0 / random.uniform(75.0, 170.0) / 2.0
    bass = random.random(8) < 0.35
    bass[0] = True
    score = []
    for number in range(int(seconds / step)):
        time, place = number * step, number % 8
        loud = float(random.uniform(0.55, 1.0))
        if bass[place]:
            score.append((time, time + 0.3, kick, loud))
        if place in (2, 6) or random.random() < 0.06:
            score.append((time, time + 0.3, snare, loud))
        if random.random() < 0.85:
            score.append((time, time + 0.3, hat, 0.7 * loud))
        if others and random.random() < 0.12:
            score.append((time, time + 0.6, int(random.choice(others)), loud))
    return score


def _range(program: int) -> tuple[int, int]:
    return _RANGES[max(first for first in _RANGES if first <= program)]


def _score(
    program: int, random: np.random.Generator, seconds: float
) -> list[tuple[float, float, int, float]]:
    """(begin, end, note, loudness) of a phrase that suits the instrument."""
    low, high = _range(program)
    if program in _EFFECTS:
        note = int(random.integers(low, high))
        return [(0.0, seconds, note, 0.9)]
    scale = np.array(_SCALES[int(random.integers(len(_SCALES)))])
    root = int(random.integers(12))
    steps = np.array(sorted(n for n in range(low, high + 1) if (n - root) % 12 in scale))
    pulse = 60.0 / random.uniform(55.0, 150.0)
    values = random.choice([0.25, 0.5, 0.5, 1.0, 1.0, 2.0], size=3)
    chordal = program in _CHORDAL and random.random() < 0.65
    legato = random.uniform(0.85, 1.05) if program in _SUSTAINED else random.uniform(0.5, 1.2)
    rest = random.uniform(0.0, 0.2)
    base, sway = random.uniform(0.45, 0.95), random.uniform(0.02, 0.15)
    place = int(random.integers(len(steps)))
    score: list[tuple[float, float, int, float]] = []
    time = float(random.uniform(0.0, 0.3))
    while time < seconds:
        length = float(random.choice(values)) * pulse
        loud = float(np.clip(base + random.normal(0.0, sway), 0.15, 1.0))
        move = int(random.choice([-4, -2, -1, -1, 0, 1, 1, 2, 4, 7]))
        place = int(np.clip(place + move, 0, len(steps) - 1))
        if random.random() >= rest:
            notes = [int(steps[place])]
            if chordal:
                chord = _CHORDS[int(random.integers(len(_CHORDS)))]
                notes = [n for n in (notes[0] + c for c in chord) if n <= high] or notes
            strum = random.uniform(0.0, 0.04)
            for number, note in enumerate(notes):
                begin = time + number * strum
                score.append((begin, begin + length * legato, note, loud))
        time += length
    return score
