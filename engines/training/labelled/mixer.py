"""Mixtures to separate, drawn without end: two or three labelled sounds, or two and a noise.

Labels are drawn evenly, then one of the label's clips, then a place in it. Short clips are
repeated with pauses. A sound is played up to a fifth faster or slower (pitch and speed together),
through a random equaliser and now and then with an echo of a room, so that a recording does not
sound twice the same. No mixture holds two sounds that the same query may mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.training.labelled.library import Labelled
from engines.training.sounds import RATE

Wave = NDArray[np.float32]
NONE, NOISE = -1, -2  # in place of a label: silence, an unlabelled sound
_ROOMS = 64
_ECHO = 2400  # 0.15 s


@dataclass(frozen=True)
class Example:
    """One mixture's sounds, which add up to it.

    Attributes:
        sources: (3, samples) float32 in -1..1, scaled; their sum stays in -1..1.
        labels: (3,) int64, place in `Mixer.labels`; -1 for silence, -2 for an unlabelled sound.
    """

    sources: Wave
    labels: NDArray[np.int64]


class Mixer:
    """Draws examples of `samples` samples from a library.

    Args:
        labelled: the sounds.
        samples: length of a mixture.
        three: share of mixtures with a third labelled sound.
        noise: share with an unlabelled one instead.
        vary: play sounds at another speed, through an equaliser and in rooms.
        labels: order of the labels, of another split for instance; else the library's own.
    """

    def __init__(
        self,
        labelled: Labelled,
        samples: int,
        *,
        three: float = 0.2,
        noise: float = 0.3,
        vary: bool = True,
        labels: list[str] | None = None,
    ) -> None:
        self.labels = labels if labels is not None else labelled.labels
        self.samples = samples
        self._labelled = labelled
        self._three, self._noise, self._vary = three, noise, vary
        places = {name: place for place, name in enumerate(self.labels)}
        self._clips = [labelled.clips.get(name, []) for name in self.labels]
        seconds = np.array([sum(map(len, clips)) / RATE for clips in self._clips])
        # A label with two seconds of sound is drawn less than one with two minutes.
        shares = np.where(seconds > 0.0, np.clip(seconds / 30.0, 0.0, 1.0) ** 0.35, 0.0)
        self._shares = shares / shares.sum()
        self._related = [
            [places[other] for other in labelled.related(name) if other in places]
            for name in self.labels
        ]
        # Long recordings are drawn more than short ones, not in proportion.
        self._weights = [_weights(clips) for clips in self._clips]
        self._loose = labelled.unlabelled
        self._loose_weights = _weights(self._loose)
        drawn = np.random.default_rng(23)
        self._rooms = [_room(drawn) for _ in range(_ROOMS)]

    def example(self, random: np.random.Generator) -> Example:
        """One mixture: two labelled sounds at -5..5 dB, and maybe a third sound."""
        kind = random.random()
        count = 3 if kind < self._three else 2
        labels = self.draw(random, count)
        waves = [self._sound(self._clips[n], self._weights[n], random) for n in labels]
        if count == 2 and kind > 1.0 - self._noise and self._loose:
            waves.append(self._sound(self._loose, self._loose_weights, random))
            labels.append(NOISE)
        first = waves[0]
        scaled = [first]
        for wave in waves[1:]:
            ratio = random.uniform(-5.0, 5.0)
            scaled.append(wave * np.float32(rms(first) / rms(wave) * 10.0 ** (-ratio / 20.0)))
        sources = np.zeros((3, self.samples), np.float32)
        sources[: len(scaled)] = np.stack(scaled)
        gain = 10.0 ** (random.uniform(-24.0, 0.0) / 20.0) / max(np.abs(sources.sum(0)).max(), 1e-6)
        labels += [NONE] * (3 - len(labels))
        return Example(sources * np.float32(gain), np.array(labels))

    def draw(self, random: np.random.Generator, count: int) -> list[int]:
        """Places of so many labels of which no two may mean the same."""
        shares = self._shares.copy()
        drawn: list[int] = []
        for _ in range(count):
            total = shares.sum()
            if total <= 0.0:
                break
            label = int(random.choice(len(shares), p=shares / total))
            drawn.append(label)
            shares[label] = 0.0
            shares[self._related[label]] = 0.0
        return drawn

    def sound(self, label: str, random: np.random.Generator) -> Wave:
        """(samples,) float32: a passage of one of the label's clips."""
        place = self.labels.index(label)
        return self._sound(self._clips[place], self._weights[place], random)

    def _sound(
        self, clips: list[NDArray[np.int16]], weights: NDArray[np.float64],
        random: np.random.Generator,
    ) -> Wave:  # fmt: skip
        """A passage that is not silent, varied."""
        wave = np.zeros(self.samples, np.float32)
        for _ in range(5):
            clip = clips[int(np.searchsorted(weights, random.random(), side="right"))]
            speed = random.uniform(0.84, 1.19) if self._vary else 1.0
            wave = _passage(clip, self.samples, speed, random)
            if np.square(wave).mean() > 1e-6:
                break
        if self._vary:
            if random.random() < 0.5:
                wave = _tilted(wave, random)
            if random.random() < 0.25:
                wave = _in_room(wave, self._rooms[int(random.integers(_ROOMS))])
        return wave


def rms(wave: Wave) -> float:
    """Root mean square, not under 1e-6."""
    return float(np.sqrt(np.mean(np.square(wave), dtype=np.float64))) + 1e-6


def _weights(clips: list[NDArray[np.int16]]) -> NDArray[np.float64]:
    """Running sum of the clips' chances, by the square root of their length up to 6 s."""
    if not clips:
        return np.zeros(0)
    chances = np.sqrt(np.minimum([len(clip) for clip in clips], 6 * RATE))
    running = np.cumsum(chances) / chances.sum()
    running[-1] = 1.0
    return running


def _passage(
    clip: NDArray[np.int16], samples: int, speed: float, random: np.random.Generator
) -> Wave:
    """So many samples from a random place; a short clip is repeated after pauses."""
    wanted = int(samples * speed) + 2
    if len(clip) >= wanted:
        start = int(random.integers(len(clip) - wanted + 1))
        taken = clip[start : start + wanted].astype(np.float32)
    else:
        taken = np.zeros(wanted, np.float32)
        one = clip.astype(np.float32)
        spare = wanted - len(one)
        # Sometimes once, anywhere; else again and again.
        if random.random() < 0.25:
            place = int(random.integers(spare + 1))
            taken[place : place + len(one)] = one
        else:
            place = -int(random.integers(len(one)))
            while place < wanted:
                begin, end = max(place, 0), min(place + len(one), wanted)
                taken[begin:end] = one[begin - place : end - place]
                place += len(one) + int(random.exponential(0.3) * RATE)
    taken *= np.float32(1.0 / 32768.0)
    if speed == 1.0:
        return taken[:samples]
    # Linear interpolation: cheap, and what it loses near 8 kHz the equaliser varies anyway.
    at = np.arange(samples, dtype=np.float32) * np.float32(speed)
    left = at.astype(np.int32)
    share = at - left.astype(np.float32)
    mixed = taken[left] + (taken[left + 1] - taken[left]) * share
    return mixed.astype(np.float32, copy=False)


def _tilted(wave: Wave, random: np.random.Generator) -> Wave:
    """Through a smooth equaliser of up to 8 dB."""
    bins = len(wave) // 2 + 1
    knots = random.uniform(-8.0, 8.0, 6)
    at = np.linspace(0.0, 5.0, 64)
    curve = np.interp(at, np.arange(6), knots)
    # Bands are spaced by the logarithm of the frequency, from 60 Hz up.
    place = np.log2(np.maximum(np.arange(bins) * (RATE / len(wave)), 60.0) / 60.0) / 7.06 * 63.0
    gain = np.power(10.0, curve / 20.0)[place.astype(np.int32)].astype(np.float32)
    return np.fft.irfft(np.fft.rfft(wave) * gain, len(wave)).astype(np.float32)


def _in_room(wave: Wave, response: NDArray[np.complex64]) -> Wave:
    """With the echo of a room; (samples,)."""
    size = 2 * (len(response) - 1)
    block = size - _ECHO
    heard = np.zeros(len(wave) + size, np.float32)
    for start in range(0, len(wave), block):
        spectrum = np.fft.rfft(wave[start : start + block], size)
        heard[start : start + size] += np.fft.irfft(spectrum * response, size).astype(np.float32)
    return heard[: len(wave)]


def _room(random: np.random.Generator) -> NDArray[np.complex64]:
    """Spectrum of a direct sound and an echo that dies away in 0.1 to 0.5 s."""
    time = np.arange(_ECHO) / RATE
    decay = 6.9 / random.uniform(0.1, 0.5)
    echo = random.normal(size=_ECHO) * np.exp(-decay * time) * random.uniform(0.02, 0.12)
    echo[: int(random.uniform(0.001, 0.008) * RATE)] = 0.0
    echo[0] = 1.0
    return np.fft.rfft(echo, 16384).astype(np.complex64)
