"""Noisy and clean examples, drawn without end: speech in rooms, noise over it, poor recordings.

What a target keeps: without `dry` everything of the voice, the room included; with `dry` the
direct sound and the first 50 ms of reflections, which add to a voice's strength but not to its
distance. Sounds are mono, 16 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve, resample_poly

from engines.speech.made_noise import equaliser, made, rms
from engines.speech.rooms import early, room
from engines.training.sounds import RATE, Sounds

_EARLY_MS = 50.0
_SHARES = {"music": 1.2, "hydrogen-drumkits": 0.3, "hydrogen-drumkits-effects": 0.3}
# fmt: off
_SPEEDS = (
    (1, 1), (20, 19), (19, 20), (10, 9), (9, 10), (8, 7), (7, 8), (6, 5), (5, 4), (4, 3), (4, 5),
)
# fmt: on


def _worth(name: str) -> float:
    """Studio recordings count for more: in the others the target itself has hiss and no treble."""
    if name.startswith("asterisk"):
        return 4.0
    return 0.4 if name.startswith(("tuxpaint", "klettres")) else 1.0


@dataclass(frozen=True)
class Example:
    """One training pair of equal length; `dry` is the wanted task."""

    noisy: NDArray[np.float32]
    clean: NDArray[np.float32]
    dry: float


class Mixer:
    """Draws examples of `samples` samples from recordings of speech and noise."""

    def __init__(
        self, speech: Sounds, noise: Sounds, samples: int, rooms: int = 400, dry: float = 0.5
    ) -> None:
        self.dry = dry  # share of examples that ask for the room to be removed
        self._voices = list(speech.groups.values())
        seconds = np.array([sum(map(len, waves)) for waves in self._voices], float)
        shares = np.sqrt(seconds) * [_worth(name) for name in speech.groups]
        self._voice_shares = shares / shares.sum()
        kinds = list(noise.groups.items())
        self._noises = [wave for _, waves in kinds for wave in waves]
        short = [[wave for wave in waves if len(wave) < RATE] for _, waves in kinds]
        self._short = [waves for waves in short if len(waves) > 5]
        weights = [
            _SHARES.get(name, 1.0) * min(len(wave), 4 * RATE) ** 0.5
            for name, waves in kinds
            for wave in waves
        ]
        self._noise_shares = np.array(weights) / sum(weights)
        self.samples = samples
        self._rooms = _bank(rooms)

    def example(self, random: np.random.Generator) -> Example:
        """One pair; 5 % hold no speech, 8 % no noise."""
        clean, heard, dry = self._spoken(random)
        kind = random.random()
        if kind < 0.05:
            clean, heard = np.zeros_like(clean), np.zeros_like(heard)
        noise = self.noise(random)
        level = rms(heard) if kind >= 0.05 else 0.1
        # A good recording has a little hiss; what else comes in spans the ratios of real life.
        ratio = random.uniform(40.0, 80.0) if kind > 0.92 else random.uniform(-6.0, 20.0)
        noisy = heard + noise * np.float32(level * 10.0 ** (-ratio / 20.0) / rms(noise))
        if random.random() < 0.06:  # the recorder was set too high
            top = np.quantile(np.abs(noisy), random.uniform(0.97, 0.999)) + 1e-6
            noisy = np.clip(noisy, -top, top)
        gain = level_gain(noisy) * 10.0 ** (random.uniform(-12.0, 6.0) / 20.0)
        return Example(
            (noisy * gain).astype(np.float32), (clean * gain).astype(np.float32), float(dry)
        )

    def _spoken(
        self, random: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], bool]:
        """Target, what the microphone hears of the voice, and the task."""
        dry = random.random() < self.dry
        voice = self.voice(random)
        if random.random() < 0.75:
            return voice, voice, dry
        response = self._rooms[int(random.integers(len(self._rooms)))]
        heard = fftconvolve(voice, response)[: self.samples].astype(np.float32)
        if not dry:
            return heard, heard, dry
        kept = early(response, RATE, _EARLY_MS)
        return fftconvolve(voice, kept)[: self.samples].astype(np.float32), heard, dry

    def voice(self, random: np.random.Generator) -> NDArray[np.float32]:
        """Prompts of one voice in a row, at another pitch and speed, through an equaliser."""
        waves = self._voices[int(random.choice(len(self._voices), p=self._voice_shares))]
        up, down = _SPEEDS[int(random.integers(len(_SPEEDS)))]
        wanted = self.samples * down // up + 64
        row = np.zeros(wanted, np.float32)
        place = -int(random.integers(RATE)) if random.random() < 0.6 else int(random.integers(8000))
        while place < wanted:
            wave = waves[int(random.integers(len(waves)))].astype(np.float32) / 32768.0
            begin = max(place, 0)
            end = min(place + len(wave), wanted)
            if end > begin:
                row[begin:end] += wave[begin - place : end - place]
            place += len(wave) + int(random.uniform(0.05, 0.6) * RATE)
        if up != down:
            row = np.asarray(resample_poly(row, up, down), dtype=np.float32)
        row = row[: self.samples]
        if random.random() < 0.6:
            row = _equalised(row, random, 6.0)
        if random.random() < 0.1:
            row = _band_limited(row, random.uniform(3400.0, 7500.0))
        return row

    def noise(self, random: np.random.Generator) -> NDArray[np.float32]:
        """Made, recorded, or other people's voices; sometimes two at once, sometimes in a room."""
        kind = random.random()
        if kind < 0.4:
            noise = made(random, self.samples, RATE)
        elif kind < 0.9:
            noise = self._recorded(random)
            if random.random() < 0.4:
                second = made if random.random() < 0.5 else None
                other = second(random, self.samples, RATE) if second else self._recorded(random)
                noise = noise / rms(noise) + other * (random.uniform(0.1, 1.0) / rms(other))
        else:
            noise = sum(
                (self.voice(random) for _ in range(int(random.integers(4, 11)))),
                np.zeros(self.samples, np.float32),
            )
        if random.random() < 0.3:
            response = self._rooms[int(random.integers(len(self._rooms)))]
            noise = fftconvolve(noise, response)[: self.samples]
        return np.asarray(noise, dtype=np.float32)

    def _struck(self, random: np.random.Generator) -> NDArray[np.float32]:
        """Short sounds of one kind at random times, as of keys, tools and dishes."""
        waves = self._short[int(random.integers(len(self._short)))]
        few = [waves[int(random.integers(len(waves)))] for _ in range(int(random.integers(1, 6)))]
        row = np.zeros(self.samples, np.float32)
        rate = np.exp(random.uniform(np.log(1.5), np.log(15.0)))
        for place in random.integers(-RATE // 4, self.samples, 1 + int(rate * self.samples / RATE)):
            wave = few[int(random.integers(len(few)))]
            begin, end = max(int(place), 0), min(int(place) + len(wave), self.samples)
            if end > begin:
                height = np.float32(random.lognormal(0.0, 0.5) / rms(wave))
                row[begin:end] += wave[begin - place : end - place] * height
        return _equalised(row, random, 8.0)

    def _recorded(self, random: np.random.Generator) -> NDArray[np.float32]:
        """A recorded noise from a random place, repeated to the length, equalised."""
        if self._short and random.random() < 0.25:
            return self._struck(random)
        wave = self._noises[int(random.choice(len(self._noises), p=self._noise_shares))]
        noise = wave.astype(np.float32) / 32768.0
        up, down = _SPEEDS[int(random.integers(len(_SPEEDS)))]
        wanted = self.samples * down // up + 64
        start = int(random.integers(len(noise)))
        taken = np.take(noise, np.arange(start, start + wanted), mode="wrap")
        if up != down:
            taken = np.asarray(resample_poly(taken, up, down), dtype=np.float32)
        return _equalised(taken[: self.samples], random, 8.0)


@lru_cache
def _bank(count: int) -> list[NDArray[np.float32]]:
    """Impulse responses of so many rooms, the same ones always."""
    drawn = np.random.default_rng(17)
    return [room(drawn, RATE, float(drawn.uniform(0.15, 1.0))) for _ in range(count)]


def level_gain(wave: NDArray[np.floating]) -> float:
    """Gain that brings the 99.9th percentile of |wave| to 1; 1 for silence."""
    top = float(np.quantile(np.abs(wave), 0.999))
    return 1.0 / top if top > 1e-6 else 1.0


def _equalised(
    wave: NDArray[np.float32], random: np.random.Generator, decibels: float
) -> NDArray[np.float32]:
    frequency = np.linspace(0.0, RATE / 2.0, len(wave) // 2 + 1)
    spectrum = np.fft.rfft(wave) * equaliser(random, frequency, decibels)
    return np.fft.irfft(spectrum, len(wave)).astype(np.float32)


def _band_limited(wave: NDArray[np.float32], edge: float) -> NDArray[np.float32]:
    frequency = np.linspace(0.0, RATE / 2.0, len(wave) // 2 + 1)
    gain = 1.0 / (1.0 + np.exp(np.clip((frequency - edge) / 60.0, -50.0, 50.0)))
    return np.fft.irfft(np.fft.rfft(wave) * gain, len(wave)).astype(np.float32)
