"""The frames of a film, one after another, with their times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.decoded import Decoded
from engines.media.video_facts import (
    VideoFacts,
    facts_of,
    opened,
    picture_stream,
    undecodable,
)

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
KNOWN = (1, 4, 5, 6, 7, 9)  # matrices that ffmpeg's scaler knows
# Without these, ffmpeg's scaler darkens colours by two levels, on the way in and on the way out.
EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)


@dataclass(frozen=True)
class Frame:
    """A frame of a film.

    Attributes:
        pixels: (h, w, 3) RGB in the film's own colour space: uint8, or uint16 where it has more
            than 8 bits.
        pts: when it is shown, in units of the film's time base.
        duration: likewise; 0 where that is unknown.
    """

    pixels: Pixels
    pts: int
    duration: int


class VideoReader:
    """A film that is being read; use it in a `with` statement.

    Args:
        path: the film, never modified.
        start: seconds that are left out at its beginning.
        length: seconds that are read; None is all.

    Attributes:
        facts: see `VideoFacts`.
        time_base: seconds of a unit of time.
        begin: time from which on frames are read, in such units.
        end: time before which they are; None is to the end.
        cut: something is left out.
        index: which of the file's streams it is.
        notes: sentences for the person, complete once the end was reached.

    Raises:
        UserError: it is no film that can be read.
    """

    def __init__(self, path: Path, start: float = 0.0, length: float | None = None) -> None:
        self._name = path.name
        self.notes: list[str] = []
        self._container = opened(path)
        try:
            self._stream = picture_stream(self._container, path.name)
            # Threads of the decoder hold frames, which counts where they are large.
            self._stream.codec_context.thread_count = 1
            self._decoding = self._decoded()
            first = next(self._decoding, None)
            if first is None:
                raise undecodable(self._stream, path.name)
            self.facts: VideoFacts = facts_of(self._container, self._stream, first, path.name)
        except BaseException:
            self._container.close()
            raise
        self.time_base = Fraction(self._stream.time_base or first.time_base or Fraction(1, 90_000))
        self.index = self._stream.index
        self.cut = start > 0.0 or length is not None
        begin = first.pts or 0
        self.begin = begin + round(Fraction(start) / self.time_base)
        self.end = None if length is None else self.begin + round(Fraction(length) / self.time_base)
        self._first: VideoFrame | None = first
        if self.begin > begin:
            self._skip_to(float(self.begin * self.time_base))
        self._usual = round(1 / (self.facts.rate * self.time_base)) if self.facts.rate else 0

    def __enter__(self) -> Self:
        """Gives itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._container.close()

    @property
    def expected(self) -> int:
        """About how many frames will come, at least 1."""
        facts = self.facts
        known = facts.frames - round((self.begin - self._zero()) * self.time_base * facts.rate)
        if self.end is not None:
            known = min(known, round((self.end - self.begin) * self.time_base * facts.rate))
        return max(known, 1)

    def _zero(self) -> int:
        return self._stream.start_time or 0

    def __iter__(self) -> Iterator[Frame]:
        """Frames in the order in which they are shown.

        Raises:
            UserError: the size of the frames changes on the way.
        """
        last: int | None = None
        frame = self._first
        while frame is not None:
            pts = frame.pts
            if pts is None or (last is not None and pts <= last):
                # Some old files have no time of a frame, or the same for two.
                pts = self.begin if last is None else last + max(self._usual, 1)
            if self.end is not None and pts >= self.end:
                return
            last = pts
            if (frame.height, frame.width) != (self.facts.height, self.facts.width):
                raise UserError(
                    f"The frames of {self._name} change their size after "
                    f"{float(pts * self.time_base):.1f} s; cut it there first"
                )
            if pts >= self.begin:
                yield Frame(self._rgb(frame), pts, int(frame.duration or 0))
            frame = next(self._decoding, None)

    def _skip_to(self, seconds: float) -> None:
        """Go to the last frame before a time from which decoding can begin."""
        try:
            self._container.seek(round(seconds * 1e6), backward=True)
        except FFmpegError:  # a stream that cannot be sought in is read from its beginning
            return
        self._decoding = self._decoded()
        self._first = next(self._decoding, None)

    def _rgb(self, frame: VideoFrame) -> Pixels:
        deep = self.facts.bits > 8
        colours = self.facts.colours
        made: Any = frame.reformat(
            format="rgb48le" if deep else "rgb24",
            src_colorspace=colours.matrix if colours.matrix in KNOWN else KNOWN[0],
            src_color_range=colours.range,
            dst_color_range=2,
            interpolation=EXACT,
        )
        return np.ascontiguousarray(made.to_ndarray())

    def _decoded(self) -> Iterator[VideoFrame]:
        """Frames in order; see `Decoded`."""
        frames = Decoded(self._container, self._stream)
        yield from frames
        if frames.broken:
            places = f"{frames.broken} place{'s' if frames.broken > 1 else ''}"
            self.notes.append(
                f"{self._name} is damaged in {places}; frames that could not be decoded are left "
                "out"
            )
