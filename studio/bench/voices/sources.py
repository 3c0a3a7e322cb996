"""Recordings that no network here was trained on, from named Debian packages.

Every file below is kept out of the training recipes. Nothing of the packages is committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from engines.training.packages import fetch
from engines.training.sounds import read_mono
from studio.bench.voices.measures import RATE, Wave

SPEECH_PACKAGES: dict[str, str] = {
    "asterisk-core-sounds-it-g722": "CC-BY-SA-3.0",
    "asterisk-core-sounds-en-g722": "CC-BY-SA-3.0",
    "fillets-ng-data-cs": "GPL-2+",
    "pocketsphinx-testdata": "BSD, public domain",
}
NOISE_PACKAGES: dict[str, str] = {
    "searchandrescue-data": "GPL",
    "sonic-pi-samples": "CC0",
    "fillets-ng-data": "GPL-2+",
}

# voice -> package and patterns; only "en-f" has other sentences of the same person in training.
VOICES: dict[str, tuple[str, tuple[str, ...]]] = {
    "it-m": ("asterisk-core-sounds-it-g722", ("*.g722",)),
    "cs-f": ("fillets-ng-data-cs", ("*-m-*.ogg",)),
    "cs-m": ("fillets-ng-data-cs", ("*-v-*.ogg",)),
    "en-m": ("pocketsphinx-testdata", ("sense_and*.wav", "00[25].wav", "*.raw")),
    "en-f": ("asterisk-core-sounds-en-g722", ("vm-*.g722", "conf-*.g722")),
}
HEARD_IN_TRAINING = ("en-f",)
# kind -> package and patterns; several files follow one another.
NOISES: dict[str, tuple[str, tuple[str, ...]]] = {
    "helicopter": ("searchandrescue-data", ("helicopter_engine_outside.wav",)),
    "jet": ("searchandrescue-data", ("jet_engine_inside2.wav",)),
    "motor": ("fillets-ng-data", ("mot-x-motor.ogg",)),
    "washing machine": ("fillets-ng-data", ("br-x-pracka.ogg",)),
    "3-D printer": ("sonic-pi-samples", ("loop_3d_printer.flac",)),
    "vinyl hiss": ("sonic-pi-samples", ("vinyl_hiss.flac",)),
    "sauna": ("sonic-pi-samples", ("ambi_sauna.flac",)),
    "hum": ("sonic-pi-samples", ("ambi_haunted_hum.flac",)),
    "keyboard": ("fillets-ng-data", ("key[12]?.ogg", "space*.ogg", "enter?.ogg")),
    "music": ("fillets-ng-data", ("rybky03.ogg",)),
    "chatter": ("fillets-ng-data", ("mik-x-stebet*.ogg",)),
    "babble": ("fillets-ng-data-cs", ("*-hs-*.ogg", "*-c-*.ogg", "*-pap-*.ogg")),
}
_SHORTEST, _LONGEST = 2.7, 6.5  # seconds of one clip
_TALKERS = 6


def voice_clips(folder: Path, voice: str, count: int) -> list[Wave]:
    """The `count` recordings of a voice with the quietest pauses, best first.

    Loudest to quietest 20 ms frames (95th minus 10th percentile of the level) tell how clean a
    recording is; clips outside 2.7 to 6.5 s are left out.

    Raises:
        UserError: the package cannot be fetched.
    """
    package, patterns = VOICES[voice]
    ranked: list[tuple[float, str, Wave]] = []
    for file in files(folder, package, patterns):
        if file.stat().st_size < 8_000:  # far too short, whatever the format
            continue
        wave = read(file)
        if _SHORTEST * RATE <= len(wave) <= _LONGEST * RATE:
            ranked.append((-_range(wave), str(file), wave))
    ranked.sort(key=lambda item: item[:2])
    return [wave for _, _, wave in ranked[:count]]


@cache
def noise(folder: Path, kind: str) -> Wave:
    """[N] one kind of noise, as long as its recordings are.

    Raises:
        UserError: the package cannot be fetched.
    """
    package, patterns = NOISES[kind]
    waves = [read(file) for file in files(folder, package, patterns)]
    return babble(waves) if kind == "babble" else np.concatenate(waves)


def babble(voices: Sequence[Wave]) -> Wave:
    """Six talkers at once: the clips are dealt out in turn, each level with the others."""
    rows = [np.concatenate([_level(wave) for wave in voices[n::_TALKERS]]) for n in range(_TALKERS)]
    length = min(map(len, rows))
    return np.mean([row[:length] for row in rows], axis=0)


def read(file: Path) -> Wave:
    """A recording as one channel at 16 kHz."""
    if file.suffix == ".raw":  # pocketsphinx: 16 kHz, 16 bit, one channel
        return np.fromfile(file, "<i2").astype(np.float32) / np.float32(32768.0)
    return read_mono(file)


def files(folder: Path, package: str, patterns: Sequence[str]) -> list[Path]:
    """Files of a package by name, each once, sorted; the package is fetched where it is not there.

    Raises:
        UserError: it cannot be fetched.
    """
    unpacked = fetch(package, folder)
    found = {file for pattern in patterns for file in unpacked.rglob(pattern) if file.is_file()}
    return sorted(file for file in found if not file.is_symlink())


def _range(wave: Wave) -> float:
    frames = wave[: len(wave) // 320 * 320].reshape(-1, 320).astype(np.float64)
    levels = 10.0 * np.log10((frames**2).mean(axis=1) + 1e-10)
    return float(np.percentile(levels, 95) - np.percentile(levels, 10))


def _level(wave: Wave) -> Wave:
    return wave / np.float32(max(float(np.sqrt(np.mean(wave.astype(np.float64) ** 2))), 1e-6))
