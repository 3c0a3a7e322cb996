"""The sets that `bench speech` measures on; the same mixtures on every machine.

- held-out: twelve kinds of noise at -5, 0, 5, 10 and 15 dB, each with three voices.
- reverberant: a voice in a simulated room, with noise 10 dB below it; the target is the direct
  sound and the first 50 ms.
- clean and silence: what has no noise has nothing to lose.
- development: a folder with `speech/*.flac` and `noise/*.flac`; clip i with noise i at 0, 5, 10 dB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from engines.base import UserError
from studio.bench.voices.measures import PEAK, RATE, Wave, mix
from studio.bench.voices.sources import NOISES, noise, read, voice_clips

SNRS = (-5, 0, 5, 10, 15)
DEVELOPMENT_SNRS = (0, 5, 10)
_SLOTS = (("it-m",), ("cs-f", "cs-m"), ("en-m", "en-f"))  # voices of a slot take turns
_CLIPS = 40  # of each voice, where there are so many
_EARLY = 0.05  # seconds of a room's response that belong to the voice
_SOUND = 343.0  # metres a second


@dataclass(frozen=True)
class Mixture:
    """One recording and what is wanted of it.

    Attributes:
        group: "held-out", "reverberant", "clean", "silence" or "development".
        voice: key of `sources.VOICES`, or a language.
        noise: kind of noise, "" for none.
        snr: dB; None where there is no noise.
        noisy: [N] float32 at 16 kHz.
        clean: [N] float32, the target.
    """

    group: str
    voice: str
    noise: str
    snr: int | None
    noisy: Wave
    clean: Wave


def held_out(packages: Path, every: int = 1) -> list[Mixture]:
    """180 mixtures: 12 kinds of noise x 5 ratios x 3 voices, no clip twice where it can be.

    Args:
        packages: folder for the Debian packages.
        every: keep every so-many-th mixture alone, for a quick look.

    Raises:
        UserError: a package cannot be fetched.
    """
    voices = {voice: voice_clips(packages, voice, _CLIPS) for slot in _SLOTS for voice in slot}
    random = np.random.default_rng(6)
    turns = dict.fromkeys(voices, 0)
    found: list[Mixture] = []
    for number, kind in enumerate(NOISES):
        sound = noise(packages, kind)
        for place, snr in enumerate(SNRS):
            for slot in _SLOTS:
                voice = slot[(number + number // 2 + place) % len(slot)]  # even in every half
                clips = voices[voice]
                speech = clips[turns[voice] % len(clips)]
                turns[voice] += 1
                noisy, clean = mix(speech, sound, snr, int(random.integers(len(sound))))
                found.append(Mixture("held-out", voice, kind, snr, noisy, clean))
    return found[::every]


def reverberant(packages: Path, count: int = 30) -> list[Mixture]:
    """Voices in simulated rooms, T60 0.3 to 0.8 s, the noise 10 dB below.

    Raises:
        UserError: a package cannot be fetched.
    """
    order = ("it-m", "cs-f", "cs-m", "en-m")
    voices = {voice: voice_clips(packages, voice, _CLIPS)[::-1] for voice in order}
    kinds = tuple(NOISES)
    random = np.random.default_rng(7)
    found: list[Mixture] = []
    for number in range(count):
        voice = order[number % len(order)]
        clips = voices[voice]
        speech = clips[number // len(order) % len(clips)]
        response = room(random, decay=0.3 + 0.5 * number / max(count - 1, 1))
        wet = fftconvolve(speech, response)[: len(speech)].astype(np.float32)
        early = response[: int(_EARLY * RATE)]
        target = fftconvolve(speech, early)[: len(speech)].astype(np.float32)
        kind = kinds[number % len(kinds)]
        sound = noise(packages, kind)
        noisy, heard = mix(wet, sound, 10, int(random.integers(len(sound))))
        scale = np.abs(heard).max() / max(float(np.abs(wet - wet.mean()).max()), 1e-9)
        clean = ((target - target.mean()) * np.float32(scale)).astype(np.float32)
        found.append(Mixture("reverberant", voice, kind, 10, noisy, clean))
    return found


def clean(packages: Path, count: int = 24) -> list[Mixture]:
    """Speech without noise, to a peak of 0.5: the recordings with the quietest pauses.

    Raises:
        UserError: a package cannot be fetched.
    """
    order = ("it-m", "cs-f", "cs-m", "en-f")
    voices = {voice: voice_clips(packages, voice, count // len(order)) for voice in order}
    found: list[Mixture] = []
    for number in range(count):
        voice = order[number % len(order)]
        wave = voices[voice][number // len(order)]
        wave = wave - wave.mean()
        wave = (wave * (0.5 / np.abs(wave).max())).astype(np.float32)
        found.append(Mixture("clean", voice, "", None, wave, wave))
    return found


def silence() -> Mixture:
    """Three seconds of digital silence."""
    wave = np.zeros(3 * RATE, dtype=np.float32)
    return Mixture("silence", "", "", None, wave, wave)


def development(folder: Path) -> list[Mixture]:
    """Clip i of `folder/speech` with noise i of `folder/noise` at 0, 5 and 10 dB.

    Raises:
        UserError: the folder has not as many of one as of the other.
    """
    speech, sounds = (sorted((folder / name).glob("*.flac")) for name in ("speech", "noise"))
    if not speech or len(speech) != len(sounds):
        raise UserError(
            f"The folder needs as many FLAC files in speech/ as in noise/, paired by name: {folder}"
        )
    found: list[Mixture] = []
    for snr in DEVELOPMENT_SNRS:
        for voice, sound in zip(speech, sounds, strict=True):
            noisy, wanted = mix(read(voice), read(sound), snr)
            kind, tongue = (file.stem.partition("-")[2] for file in (sound, voice))
            found.append(Mixture("development", tongue, kind, snr, noisy, wanted))
    return found


def long_mixture(packages: Path, seconds: float) -> Mixture:
    """Voices one after another over changing noise at 5 dB, for joins and memory.

    Raises:
        UserError: a package cannot be fetched.
    """
    length = round(seconds * RATE)
    noisy, wanted = (np.concatenate(parts)[:length] for parts in _parts(packages, length))
    scale = np.float32(min(1.0, PEAK / float(np.abs(noisy).max())))
    return Mixture("long", "", "", 5, noisy * scale, wanted * scale)


def room(random: np.random.Generator, decay: float) -> NDArray[np.float64]:
    """Response of a shoebox room by the image-source method (Allen and Berkley 1979).

    The walls' reflection follows from Sabine's formula, which is a guess in a small room: the
    response is then bent to the decay that was asked for. The direct sound is the first sample.

    Args:
        random: draws the room's size and where voice and microphone are, 0.8 to 2 m apart.
        decay: T60 in seconds.
    """
    size = random.uniform((4.0, 3.0, 2.4), (8.0, 6.0, 3.2))
    microphone = random.uniform(0.3, 0.7, 3) * size
    direction = random.standard_normal(3) * (1.0, 1.0, 0.2)
    direction *= random.uniform(0.8, 2.0) / np.linalg.norm(direction)
    voice = np.clip(microphone + direction, 0.2, size - 0.2)
    surface = 2.0 * (size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    absorbed = min(0.161 * float(np.prod(size)) / (surface * decay), 0.95)
    reflection = np.sqrt(1.0 - absorbed)
    length = int(decay * RATE)
    far = _SOUND * decay
    axes = [np.arange(-(n := int(np.ceil(far / side))), n + 1) for side in size]
    # Along each axis: where the images are, from the microphone, and how often they were reflected.
    places = [
        np.where(cells % 2 == 0, cells * side + x, (cells + 1) * side - x) - m
        for cells, side, x, m in zip(axes, size, voice, microphone, strict=True)
    ]
    flat = (places[1] ** 2)[:, None] + (places[2] ** 2)[None, :]
    bounces = np.abs(axes[1])[:, None] + np.abs(axes[2])[None, :]
    direct = float(np.linalg.norm(voice - microphone))
    response = np.zeros(length)
    for place, count in zip(places[0], np.abs(axes[0]), strict=True):
        away = np.sqrt(place**2 + flat)
        sample = np.rint((away - direct) / _SOUND * RATE).astype(np.int64)
        inside = sample < length
        height = reflection ** (bounces[inside] + count) * direct / away[inside]
        response += np.bincount(sample[inside], height, minlength=length)
    seconds = np.arange(length) / RATE
    for _ in range(2):
        response *= 10.0 ** (-3.0 * seconds * (1.0 / decay - 1.0 / reverberation_time(response)))
    return response


def reverberation_time(response: NDArray[np.float64]) -> float:
    """T60 in seconds: thrice the time from 5 to 25 dB down (Schroeder's backward integration)."""
    left = np.cumsum(response[::-1] ** 2)[::-1]
    fallen = 10.0 * np.log10(left / left[0] + 1e-12)
    return 3.0 * float(np.argmax(fallen < -25.0) - np.argmax(fallen < -5.0)) / RATE


def _parts(packages: Path, length: int) -> tuple[list[Wave], list[Wave]]:
    pieces = list(_pieces(packages, length))
    return [noisy for noisy, _ in pieces], [wanted for _, wanted in pieces]


def _pieces(packages: Path, length: int) -> Iterator[tuple[Wave, Wave]]:
    order = ("it-m", "cs-f", "cs-m")
    voices = {voice: voice_clips(packages, voice, _CLIPS) for voice in order}
    kinds = tuple(NOISES)
    done = number = 0
    while done < length:
        clips = voices[order[number % len(order)]]
        speech = clips[number // len(order) % len(clips)]
        gap = np.zeros(RATE // 2, dtype=np.float32)  # people pause
        speech = np.concatenate([speech / np.abs(speech).max(), gap])
        sound = noise(packages, kinds[number // 4 % len(kinds)])
        yield mix(speech, sound, 5, done % len(sound))
        done += len(speech)
        number += 1
