"""One sound of the player that compares before, after and removed: small, and playable anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from engines.base import Track
from engines.media.sound_format import SoundFormat
from engines.media.sound_loudness import Loudness
from engines.media.sound_resample import Resampler, resampled_length
from engines.media.sound_spectrogram import SpectrogramPicture
from engines.media.sound_write import SoundWriter
from engines.sound.chunks import Sound

_THUMBNAIL = (320, 200)  # pixels
_LONG = 300.0  # seconds from which on MP3 is written, so that a page can load it
_LONG_RATE, _BIT_RATE = 32_000, 64_000
_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # that every browser plays


class TrackFile:
    """Writes a track, its loudness and its spectrogram as the samples come.

    A context manager that removes an unfinished file. More than two channels are mixed to one,
    rates that a browser may not play become 48 kHz. Long ones are mono MP3 at 32 kHz: coding three
    of them in full would take longer than cleaning the recording.
    """

    def __init__(
        self, stem: Path, label: str, rate: int, channels: int, samples: int, layout: str
    ) -> None:
        """`stem`: of sound and picture; `samples` of each channel will be written at `rate` Hz."""
        self._stem, self._label = stem, label
        long = samples > _LONG * rate
        self._mix = channels > 2 or long
        self._channels = 1 if self._mix else channels
        played = rate if rate in _RATES else 48_000
        form = SoundFormat("FLAC", "PCM_16")
        if long:
            played = min(played, _LONG_RATE)
            form = SoundFormat("MP3", "MPEG_LAYER_III", _BIT_RATE)
        self._resampler = Resampler(rate, played, self._channels)
        self._path = stem.with_name(stem.name + form.suffix)
        length = resampled_length(samples, rate, played)
        self._writer = SoundWriter(self._path, form, played, self._channels, length)
        self._loudness = Loudness(rate, channels, layout)
        self._picture = SpectrogramPicture(rate, samples)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.abort()  # does nothing to a file that is finished

    @property
    def reference_db(self) -> float:
        """Level of the lightest colour, for the pictures beside this one."""
        return self._picture.reference_db()

    def write(self, block: Sound) -> None:
        """Append (channels, n) samples."""
        if not block.shape[1]:
            return
        self._loudness.add(block)
        self._picture.add(block)
        if self._mix:
            block = block.mean(axis=0, keepdims=True)
        self._writer.write(self._resampler.process(block))

    def thumbnail(self, path: Path, reference_db: float, within: TrackFile | None = None) -> Path:
        """Save a small JPEG of the spectrogram, once all samples were written; see `finish`."""
        whole = within._picture if within is not None else None
        self._picture.save(path, reference_db, _THUMBNAIL, whole)
        return path

    def finish(
        self,
        reference_db: float,
        within: TrackFile | None = None,
        spans: Sequence[tuple[float, float]] = (),
    ) -> Track:
        """Close the sound and save its picture.

        Args:
            reference_db: level of the lightest colour.
            within: the sound that this is a part of; see `SpectrogramPicture.save`.
            spans: see `engines.base.Track`.
        """
        nothing = np.zeros((self._channels, 0), np.float32)
        self._writer.write(self._resampler.process(nothing, last=True))
        self._writer.close()
        picture = self._stem.with_name(self._stem.name + ".png")
        whole = within._picture if within is not None else None
        self._picture.save(picture, reference_db, within=whole)
        loudness = self._loudness.integrated()
        return Track(self._path, picture, self._label, loudness, self._picture.marks, spans)
