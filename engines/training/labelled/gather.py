"""Clips of every label for one split: recordings, rhythms of single blows, phrases, made sounds."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.base import UserError
from engines.training.labelled.labels import Label, Split, Table
from engines.training.labelled.made import make
from engines.training.labelled.midi import Player, rhythm
from engines.training.labelled.sources import FONTS, PACKAGES, Sources
from engines.training.sounds import RATE, clean_speech, levelled, read_mono

Wave = NDArray[np.float32]
PHRASE_SECONDS = 6.0
_LONGEST = 12 * RATE  # longer recordings are cut
_PIECES = 5  # so many pieces of a long recording at the most
_FILES = 150  # so many files at the most
_JOINED = 40  # so many sentences of one source of prompts at the most
# Phrases, rhythms or specimens of a label in each split.
_MADE: dict[Split, int] = {"train": 24, "valid": 5, "test": 8, "zeroshot": 8}
_FONTS: dict[Split, tuple[str, ...]] = {
    "train": ("fluid-soundfont-gm", "musescore-general-soundfont-small"),
    "valid": ("fluid-soundfont-gm", "musescore-general-soundfont-small"),
    "test": ("timgm6mb-soundfont",),
    "zeroshot": ("timgm6mb-soundfont",),
}


class Gatherer:
    """Makes the clips of one split."""

    def __init__(self, sources: Sources, table: Table, split: Split) -> None:
        self._sources = sources
        self._table = table
        self._split: Split = split
        self._players: dict[str, Player] = {}
        self._babble: list[Wave] = []

    def label(self, label: Label) -> list[Wave]:
        """Clips of a label at -26 dBFS, mono, 16 kHz; none where the split has none.

        Raises:
            UserError: a package cannot be fetched.
        """
        if label.unseen != (self._split == "zeroshot"):
            return []
        random = _random(label.name, self._split)
        clips = self._recorded(label, random)
        clips += self._phrases(label, random)
        for source in self._named(label):
            name = source.removeprefix("made:")
            if source != name and name != "babble":
                made = (make(name, random, int(PHRASE_SECONDS * RATE)) for _ in self._many())
                clips += [one for wave in made if (one := levelled(wave)) is not None]
            elif name == "babble":
                clips += self._crowds(random)
        if label.name.endswith("speaking"):
            self._babble += clips
        return clips

    def unlabelled(self) -> list[Wave]:
        """Sounds that no label names: noise to learn to ignore.

        Raises:
            UserError: a package cannot be fetched.
        """
        named = {
            file
            for label in self._table.labels.values()
            for source in (*label.train, *label.test)
            if not source.startswith("made:")
            for file in self._sources.matching(source)
        }
        clips: list[Wave] = []
        for alias, package in PACKAGES.items():
            if package.spoken or (package.kept and self._split != "test"):
                continue
            if package.name == "gcompris-qt-data":  # other games, trained on, share its noises
                continue
            for path, file in self._sources.files(alias):
                share = zlib.crc32(path.encode()) % 10
                if file in named or (not package.kept and self._wanted(share) is False):
                    continue
                clips += _pieces(_read(file))[:2]
        return clips

    def _wanted(self, share: int) -> bool:
        """Of ten parts of what is unlabelled, eight are trained on."""
        return {"train": share < 8, "valid": share == 8, "test": share == 9, "zeroshot": False}[
            self._split
        ]

    def _many(self) -> range:
        return range(_MADE[self._split])

    def _named(self, label: Label) -> tuple[str, ...]:
        if self._split in ("train", "valid"):
            return label.train
        return label.test

    def _recorded(self, label: Label, random: np.random.Generator) -> list[Wave]:
        clips: list[Wave] = []
        blows: list[Wave] = []
        recordings: list[Path] = []
        for source in self._named(label):
            if source.startswith("made:"):
                continue
            package = PACKAGES[source.partition(":")[0]]
            if package.kept and self._split in ("train", "valid"):
                raise ValueError(f"{label.name} would be trained on {package.name}")
            files = self._sources.matching(source)
            if package.spoken:  # each speaker is in every split, with other prompts
                clips += _sentences(_some(self._part(files), random), random)
            else:
                recordings += files
        for file in _some(self._part(recordings), random):
            pieces = _pieces(_read(file))
            short = [one for one in pieces if label.hits and len(one) < 3 * RATE]
            blows += short
            clips += pieces if not short else []
        if blows:
            clips += _rhythms(blows, random, 2 * len(self._many()))
        return clips

    def _part(self, files: Sequence[Path]) -> list[Path]:
        """Every fifth of five and more files is kept from training and validates."""
        if self._split not in ("train", "valid"):
            return list(files)
        held = [n % 5 == 4 for n in range(len(files))]
        return [f for f, one in zip(files, held, strict=True) if one == (self._split == "valid")]

    def _phrases(self, label: Label, random: np.random.Generator) -> list[Wave]:
        if not label.midi and not label.drums:
            return []
        clips: list[Wave] = []
        for font in _FONTS[self._split]:
            player = self._player(font)
            programs = tuple(program for program in label.midi if player.has(program))
            for _ in self._many():
                if programs:
                    wave = player.phrase(programs, random, PHRASE_SECONDS)
                elif label.drums and player.has(0, drums=True):
                    wave = player.drums(label.drums, random, PHRASE_SECONDS, label.kit)
                else:
                    break
                clips += [one for one in (levelled(wave),) if one is not None]
        return clips

    def _player(self, font: str) -> Player:
        if font not in self._players:
            self._players[font] = Player(self._sources.font(FONTS[font].name))
        return self._players[font]

    def _crowds(self, random: np.random.Generator) -> list[Wave]:
        """Many voices at once; the labels of voices come first in the table."""
        if not self._babble:
            return []
        samples = int(PHRASE_SECONDS * RATE)
        crowds = []
        for _ in self._many():
            crowd = np.zeros(samples, np.float32)
            for _ in range(int(random.integers(6, 14))):
                voice = self._babble[int(random.integers(len(self._babble)))]
                start = int(random.integers(len(voice)))
                crowd += np.take(
                    voice, np.arange(start, start + samples), mode="wrap"
                ) * np.float32(random.uniform(0.4, 1.0))
            crowds.append(crowd)
        return [one for wave in crowds if (one := levelled(wave)) is not None]


def fonts(split: Split) -> tuple[str, ...]:
    """Packages of the sound fonts that play in a split."""
    return _FONTS[split]


def _random(name: str, split: Split) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{name}/{split}".encode()))


@lru_cache(maxsize=4096)
def _read(file: Path) -> tuple[Wave, ...]:
    """The recording without silence at its ends, or nothing where it cannot be read."""
    try:
        wave = levelled(read_mono(file))
    except UserError:
        return ()  # a broken file of a package is no reason to stop
    if wave is None:
        return ()
    loud = np.flatnonzero(np.abs(wave) > 0.003 * np.abs(wave).max())
    return (wave[loud[0] : loud[-1] + 1],)


def _some(files: Sequence[Path], random: np.random.Generator) -> list[Path]:
    """So many of the files as are worth reading."""
    if len(files) <= _FILES:
        return list(files)
    chosen = random.choice(len(files), _FILES, replace=False)
    return [files[int(place)] for place in sorted(chosen)]


def _pieces(waves: Iterable[Wave]) -> list[Wave]:
    """At most `_PIECES` pieces of 12 s, spread over a long recording."""
    pieces: list[Wave] = []
    for wave in waves:
        count = min(max(len(wave) // _LONGEST, 1), _PIECES)
        starts = np.linspace(0, max(len(wave) - _LONGEST, 0), count).astype(int)
        cut = (levelled(wave[start : start + _LONGEST]) for start in starts)
        pieces += [one for one in cut if one is not None]
    return pieces


def _sentences(files: Sequence[Path], random: np.random.Generator) -> list[Wave]:
    """Prompts of one speaker joined to some 6 s with short pauses."""
    joined: list[Wave] = []
    row: list[Wave] = []
    for place in random.permutation(len(files)):
        try:
            wave = clean_speech(read_mono(files[int(place)]))
        except UserError:
            continue
        if wave is None:
            continue
        row += [wave, np.zeros(int(random.uniform(0.08, 0.45) * RATE), np.float32)]
        if sum(map(len, row)) > PHRASE_SECONDS * RATE:
            joined.append(np.concatenate(row)[:_LONGEST])
            row = []
        if len(joined) == _JOINED:
            break
    return joined


def _rhythms(blows: Sequence[Wave], random: np.random.Generator, count: int) -> list[Wave]:
    """Single blows played in rhythms, one or two of them in each."""
    samples = int(PHRASE_SECONDS * RATE)
    clips: list[Wave] = []
    for _ in range(count):
        chosen = [blows[int(random.integers(len(blows)))] for _ in range(2)]
        wave = np.zeros(samples, np.float32)
        for time, loud in rhythm(random, PHRASE_SECONDS):
            blow = chosen[int(random.random() < 0.3)]
            start = int(time * RATE)
            one = blow[: samples - start]
            wave[start : start + len(one)] += one * np.float32(loud)
        clips += [one for one in (levelled(wave),) if one is not None]
    return clips
