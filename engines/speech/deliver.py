"""Everything a speech engine writes: the result, what was removed, and the tracks to listen to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from engines.base import Job, Output, Track
from engines.media.sound_format import SoundFormat
from engines.media.sound_loudness import Loudness
from engines.media.sound_video import replace_sound, video_suffix
from engines.media.sound_write import SoundWriter
from engines.sound.chunks import Sound
from engines.sound.fifo import Fifo
from engines.sound.part import Part
from engines.sound.survey import Levels, Survey
from engines.sound.tracks import TrackFile
from engines.speech.clean import Piece
from engines.speech.limiter import Limiter
from engines.speech.params import SpeechParams

_CEILING = 10.0 ** (-1.0 / 20.0)  # true peak of a result brought to a loudness, -1 dBTP
_MOST_GAIN = 30.0  # dB
_BLOCK = 1 << 16
_EXACT = SoundFormat("WAV", "PCM_24")
_REMOVED_LIMIT = 100.0  # dB


@dataclass(frozen=True)
class Delivered:
    """What was written, and what was measured on it."""

    outputs: tuple[Output, ...]
    tracks: tuple[Track, ...]
    thumbnail: Path
    notes: tuple[str, ...]
    noise_removed: float
    snr_after: float
    limited: int


class Delivery:
    """Takes the pieces of a recording in order; a context manager that leaves nothing half done.

    Without a loudness target the result is written as it comes. With one, it waits in a file of
    plain samples until its loudness is known.
    """

    def __init__(
        self,
        part: Part,
        found: Survey,
        form: SoundFormat,
        params: SpeechParams,
        provenance: Mapping[str, Any],
        job: Job,
    ) -> None:
        self._part, self._found, self._params, self._job = part, found, params, job
        self._form, self._provenance = form, provenance
        self._rate, self._channels = part.facts.rate, found.channels
        self._stem = part.stem
        self._layout = part.facts.layout if found.channels == part.facts.channels else ""
        self._stack = ExitStack()
        self._levels = Levels(self._rate)
        self._heard = Loudness(self._rate, self._channels, self._layout)
        target = params.loudness is not None and not found.silent
        # What was already beyond full scale in a floating-point file may stay there.
        top = max(1.0, found.peak) if form.floating else 1.0
        self._limiter = Limiter(self._rate, _CEILING if target else top, between=target)
        self._waiting = Fifo(self._channels)
        self._plain = self._workspace / f"{self._stem}.samples.partial" if target else None

    @property
    def _workspace(self) -> Path:
        return self._job.workspace

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        film = self._part.facts.has_video and self._part.whole
        asked = not film or self._params.format != "same"
        self._result = enter(self._writer("-clean", self._form)) if asked else None
        # A film's sound is coded once, from what is exact.
        self._beside = enter(self._writer("-clean.film", _EXACT)) if film else None
        self._removed = (
            enter(self._writer("-removed", self._form)) if self._params.removed else None
        )
        self._tracks = {
            name: enter(
                TrackFile(
                    self._workspace / f"{self._stem}.{name}",
                    name.capitalize(),
                    self._rate,
                    self._channels,
                    self._found.samples,
                    self._layout,
                )
            )
            for name in ("before", "after", "removed")
        }
        self._file = enter(self._plain.open("w+b")) if self._plain is not None else None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if self._plain is not None:
            self._plain.unlink(missing_ok=True)

    def add(self, piece: Piece) -> None:
        """Take the next samples."""
        self._waiting.push(piece.before)
        if self._file is not None:
            self._heard.add(piece.after)
            self._listen(piece.after)
            piece.after.T.tofile(self._file)
        else:
            self._finished(self._limiter.push(piece.after))

    def finish(self) -> Delivered:
        """Write what still waits, close every file; progress from 90 to 100."""
        notes: list[str] = []
        nothing = np.zeros((self._channels, 0), np.float32)
        if self._file is None:
            self._finished(self._limiter.push(nothing, last=True))
        else:
            gain = np.float32(10.0 ** (self._target_gain(notes) / 20.0))
            for block in self._samples():
                self._job.check_cancelled()
                self._write(self._limiter.push(block * gain))
            self._write(self._limiter.push(nothing, last=True))
        if self._limiter.limited:
            notes.append("Peaks that would have clipped were turned down for some milliseconds")
        for writer in (self._result, self._beside, self._removed):
            if writer is not None:
                writer.close()
        outputs = self._outputs(notes)
        self._job.progress(98, 100, "drawing the spectrograms")
        reference = self._tracks["before"].reference_db
        tracks = tuple(track.finish(reference) for track in self._tracks.values())
        thumbnail = self._tracks["after"].thumbnail(self._workspace / "thumbnail.jpg", reference)
        before, after = self._found.floor, self._levels.floor
        return Delivered(
            outputs=tuple(outputs),
            tracks=tracks,
            thumbnail=thumbnail,
            notes=tuple(notes),
            noise_removed=float(np.clip(before - after, 0.0, _REMOVED_LIMIT)),
            snr_after=self._levels.snr,
            limited=self._limiter.limited,
        )

    def _finished(self, after: Sound) -> None:
        """Final samples of the result, where no loudness is wanted."""
        if after.shape[1]:
            self._listen(after)
            self._write(after)

    def _listen(self, after: Sound) -> None:
        """Measure, and keep what was removed: input minus result."""
        before = self._waiting.pop(after.shape[1])
        removed = before - after
        self._levels.add(after)
        self._tracks["before"].write(before)
        self._tracks["removed"].write(removed)
        if self._removed is not None:
            self._removed.write(removed)

    def _write(self, after: Sound) -> None:
        for writer in (self._result, self._beside):
            if writer is not None:
                writer.write(after)
        self._tracks["after"].write(after)

    def _target_gain(self, notes: list[str]) -> float:
        """Gain in dB to the loudness that is wanted."""
        wanted, found = self._params.loudness, self._heard.integrated()
        assert wanted is not None
        if not np.isfinite(found):
            notes.append("What is left is too quiet to have a loudness, so it was not changed")
            return 0.0
        if wanted - found > _MOST_GAIN:
            notes.append(
                f"The result was raised by {_MOST_GAIN:.0f} dB, no more; it stays below the "
                "loudness that you asked for"
            )
        return min(wanted - found, _MOST_GAIN)

    def _samples(self) -> Iterator[Sound]:
        """The result as it was put by."""
        assert self._file is not None
        self._file.seek(0)
        while True:
            flat = np.fromfile(self._file, np.float32, _BLOCK * self._channels)
            if not len(flat):
                return
            yield flat.reshape(-1, self._channels).T

    def _writer(self, ending: str, form: SoundFormat) -> SoundWriter:
        return SoundWriter(
            self._workspace / f"{self._stem}{ending}{form.suffix}",
            form,
            self._rate,
            self._channels,
            self._found.samples,
            like=self._part.facts,
            provenance=self._provenance,
            start=self._part.start,
        )

    def _outputs(self, notes: list[str]) -> list[Output]:
        """What was written, the film first where the sound came out of one."""
        outputs: list[Output] = []
        if self._beside is not None:
            film = self._workspace / f"{self._stem}-clean{video_suffix(self._part.path)}"
            notes += replace_sound(
                self._part.path,
                self._beside.path,
                film,
                provenance=self._provenance,
                check=self._job.check_cancelled,
                progress=lambda share: self._job.progress(
                    91 + 7 * share, 100, "putting the sound beside the picture"
                ),
            )
            self._beside.path.unlink()
            outputs.append(Output(film, "video", "Film with clean sound", primary=True))
        if self._result is not None:
            path = self._result.path
            outputs.append(Output(path, "audio", "Clean sound", primary=not outputs))
        if self._removed is not None:
            outputs.append(Output(self._removed.path, "audio", "What was removed"))
        return outputs
