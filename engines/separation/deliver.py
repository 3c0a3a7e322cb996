"""Everything that is written of a separation: a file a sound, the remainder, tracks to listen to.

The remainder is the input minus what the other files hold, to the last bit, so that all of them
add up to the recording whatever was done to the masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engines.base import Job, Output, Track
from engines.media.sound_format import SoundFormat
from engines.media.sound_quantise import Quantiser
from engines.media.sound_video import replace_sound, video_suffix
from engines.media.sound_write import SoundWriter
from engines.separation.activity import Found, Interval, merged
from engines.separation.names import file_names, labels
from engines.separation.params import Mode
from engines.separation.split import Piece
from engines.sound.chunks import Sound
from engines.sound.part import Part
from engines.sound.survey import Survey
from engines.sound.tracks import TrackFile

_EXACT = SoundFormat("WAV", "PCM_24")
_THUMBNAIL = "thumbnail.jpg"
_SPANS = 200  # intervals of a track that are drawn


@dataclass(frozen=True)
class Delivered:
    """What was written."""

    outputs: tuple[Output, ...]
    tracks: tuple[Track, ...]
    thumbnail: Path
    notes: tuple[str, ...]


class Delivery:
    """Takes the pieces of a recording in order; a context manager that leaves nothing half done."""

    def __init__(
        self,
        part: Part,
        found: Survey,
        form: SoundFormat,
        sounds: Sequence[str],
        mode: Mode,
        provenance: Mapping[str, Any],
        job: Job,
    ) -> None:
        """`sounds` are what the tracks of every piece are of, in that order."""
        self._part, self._found, self._form, self._job = part, found, form, job
        self._mode, self._provenance, self._sounds = mode, provenance, sounds
        self.labels = labels(sounds)
        names = file_names(sounds, ("remainder",))
        rest = "remainder"
        if mode == "remove":
            rest = f"without {names[0]}" + (" and more" if len(names) > 1 else "")
        self._names = [*names, rest]
        self._rest = "Remainder" if mode == "keep" else "Without"
        self._stack = ExitStack()
        self._written = [_AsWritten(form, seed) for seed in range(len(sounds))]

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        self._files = [enter(self._writer(f".{name}", self._form)) for name in self._names]
        film = self._part.facts.has_video and self._part.whole
        # A film's sound is coded once, from what is exact.
        self._beside = enter(self._writer(".film", _EXACT)) if film else None
        layout = self._part.facts.layout
        self._tracks = [
            enter(
                TrackFile(
                    self._job.workspace / f"track-{number}",
                    label,
                    self._part.facts.rate,
                    self._found.channels,
                    self._found.samples,
                    layout,
                )
            )
            for number, label in enumerate(["Before", *self.labels, self._rest])
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if kind is not None:  # also what was finished when a stop came
            workspace = self._job.workspace
            done = [*workspace.glob("track-*"), workspace / _THUMBNAIL]
            for path in [*done, *(file.path for file in self._files)]:
                path.unlink(missing_ok=True)

    def add(self, piece: Piece) -> None:
        """Take the next samples."""
        rest = piece.before.astype(np.float64)
        kept: list[Sound] = []
        for track, written in zip(piece.tracks, self._written, strict=True):
            kept.append(written(track))
            rest -= kept[-1]
        kept.append(rest.astype(np.float32))
        for file, track in zip(self._files, kept, strict=True):
            file.write(track)
        for file, track in zip(self._tracks, [piece.before, *kept], strict=True):
            file.write(track)
        if self._beside is not None:
            wanted = kept[-1] if self._mode == "remove" else piece.before - kept[-1]
            self._beside.write(wanted)

    def finish(self, found: Sequence[Found]) -> Delivered:
        """Close every file; progress from 90 to 100. `found` is of the first so many tracks."""
        for writer in (*self._files, self._beside):
            if writer is not None:
                self._job.check_cancelled()
                writer.close()
        notes = self._notes()
        outputs = self._outputs(notes)
        self._job.progress(98, 100, "drawing the spectrograms")
        before, *parts = self._tracks
        top = before.reference_db
        spans: list[Sequence[Interval]] = [*merged(found, _SPANS)]
        spans += [()] * (len(parts) - len(spans))
        primary = parts[-1] if self._mode == "remove" else parts[0]
        thumbnail = primary.thumbnail(self._job.workspace / _THUMBNAIL, top, before)
        made: list[Track] = []
        for track, span in zip(parts, spans, strict=True):
            self._job.check_cancelled()
            made.append(track.finish(top, before, span))
        whole = before.finish(top)
        if self._mode == "remove":  # what is wanted stands beside what it is compared with
            made = [made[-1], *made[:-1]]
        return Delivered(tuple(outputs), (whole, *made), thumbnail, tuple(notes))

    def _writer(self, ending: str, form: SoundFormat) -> SoundWriter:
        return SoundWriter(
            self._job.workspace / f"{self._part.stem}{ending}{form.suffix}",
            form,
            self._part.facts.rate,
            self._found.channels,
            self._found.samples,
            like=self._part.facts,
            provenance=self._provenance,
            start=self._part.start,
        )

    def _notes(self) -> list[str]:
        if not (self._form.bits or self._form.floating):
            return [
                "Lossy files add up to the recording only about; choose WAV or FLAC as the format "
                "where the sum must be exact"
            ]
        if self._files[-1].clipped:
            return [
                f"{self._files[-1].clipped} samples of the remainder were limited to full scale, "
                "so there the files do not add up; choose floating point as the bit depth"
            ]
        return []

    def _outputs(self, notes: list[str]) -> list[Output]:
        """The film first where there is one, then what is wanted, then the rest."""
        *sounds, rest = (file.path for file in self._files)
        named = [
            Output(path, "audio", label) for path, label in zip(sounds, self.labels, strict=True)
        ]
        last = Output(rest, "audio", "Remainder" if self._mode == "keep" else self._without)
        files = [last, *named] if self._mode == "remove" else [*named, last]
        if self._beside is not None:
            files.insert(0, self._film(notes))
        first = files[0]
        return [Output(first.path, first.kind, first.label, primary=True), *files[1:]]

    @property
    def _without(self) -> str:
        return f"Without {self._several}"

    @property
    def _several(self) -> str:
        more = len(self.labels) - 1
        return f"{self.labels[0]} and {more} more" if more else self.labels[0]

    def _film(self, notes: list[str]) -> Output:
        assert self._beside is not None
        video = self._part.path
        wanted = self._names[-1] if self._mode == "remove" else self._names[0]
        film = self._job.workspace / f"{self._part.stem}.{wanted}{video_suffix(video)}"
        notes += replace_sound(
            video,
            self._beside.path,
            film,
            provenance=self._provenance,
            check=self._job.check_cancelled,
            progress=lambda share: self._job.progress(
                91 + 7 * share, 100, "putting the sound beside the picture"
            ),
        )
        self._beside.path.unlink()
        if self._mode == "remove":
            return Output(film, "video", f"Film: {self._without}")
        return Output(film, "video", f"Film with {self._several}")


class _AsWritten:
    """What a file will hold of some samples, so that the remainder can make up for the rest."""

    def __init__(self, form: SoundFormat, seed: int) -> None:
        self._bits = form.bits if form.bits <= 24 else 0
        self._quantise = Quantiser(self._bits, seed) if self._bits else None

    def __call__(self, block: NDArray[np.float32]) -> Sound:
        """(C, n) float32 to (C, n) float32 that the file's steps hold exactly."""
        if self._quantise is None:
            return np.ascontiguousarray(block)
        steps = self._quantise(np.ascontiguousarray(block.T))
        full = 2.0 ** (15 if self._bits <= 16 else 31)
        return np.ascontiguousarray((steps / full).astype(np.float32).T)
