"""Sound that libsndfile does not read, such as AAC and the sound of videos, through PyAV.

The wheel of PyAV brings ffmpeg's libraries; no program has to be installed. Only plain media
containers and local files are opened: playlists and their like could make ffmpeg read other files
or ask a network for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.decoded import Decoded
from engines.media.sound_facts import TAG_NAMES, SoundFacts, codec_is_lossy

_CONTAINERS = (
    "mov,matroska,webm,ogg,mp3,aac,ac3,eac3,dts,dtshd,truehd,mlp,loas,asf,avi,mpegts,mpeg,flac,"
    "wav,w64,aiff,caf,au,amr,amrnb,amrwb,g722,ape,wv,tta,tak,mpc,mpc8,dsf,iff,rm,flv,mxf,voc,gsm,"
    "nistsphere,shn,dv,nut,oma,qcp,ircam"
)
_GAP = 0.1  # seconds; smaller steps in the time stamps are rounding (Matroska: milliseconds)
_LONGEST_GAP = 3600.0
_INTEGERS = {"u8": (128.0, 128.0), "s16": (0.0, 2.0**15), "s32": (0.0, 2.0**31)}
_TAGS = {name: name for name in TAG_NAMES} | {"track": "tracknumber", "encoder": "software"}
_BITS = {"pcm_u8": 8, "pcm_s8": 8, "pcm_alaw": 0, "pcm_mulaw": 0}


def open_media(path: Path) -> InputContainer:
    """Open a media file for reading.

    Raises:
        av.error.FFmpegError: it is no media file, or of a kind that is not opened.
    """
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    return av.open(
        f"file:{path.resolve()}", options=options, metadata_errors="replace", buffer_size=1 << 18
    )


class FfmpegSource:
    """The best sound track of a media file, decoded in order.

    Attributes:
        facts: see `SoundFacts`.
        notes: sentences for the person, complete once the end has been reached.

    Raises:
        UserError: there is no sound in it, or none that can be decoded.
        av.error.FFmpegError: it is no media file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: list[str] = []
        self._begin()
        self.facts = self._facts()

    def read(self, count: int) -> NDArray[np.float32]:
        """Up to `count` samples as (n, channels) float32, full scale at 1; fewer at the end alone.

        Raises:
            UserError: the number of channels or the rate changes on the way.
        """
        held = self._waiting
        have = sum(len(part) for part in held)
        while have < count:
            part = next(self._parts, None)
            if part is None:
                break
            held.append(part)
            have += len(part)
        whole = np.concatenate(held) if held else np.empty((0, self.facts.channels), np.float32)
        self._waiting = [whole[count:]] if have > count else []
        return whole[:count]

    @property
    def index(self) -> int:
        """Which of the file's streams it is."""
        return self._stream.index

    def restart(self) -> None:
        """Go back to the first sample."""
        self.close()
        self._begin()

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._container.close()

    def _begin(self) -> None:
        self._container = open_media(self._path)
        try:
            stream = self._container.streams.best("audio")
            if stream is None:
                raise UserError(f"{self._path.name} has no sound in it; choose another file")
            self._stream: AudioStream = stream  # pyright: ignore[reportAttributeAccessIssue]
            self._frames = self._decoded()
            self._first = next(self._frames, None)
            if self._first is None:
                raise UserError(
                    f"The sound of {self._path.name} cannot be decoded ({self._codec()}): it is "
                    "encrypted, damaged or of an unknown kind"
                )
        except (FFmpegError, UserError):
            self._container.close()
            raise
        self._limit = self._presented()
        self._parts = self._samples()
        self._waiting: list[NDArray[np.float32]] = []

    def _codec(self) -> str:
        context = self._stream.codec_context
        return context.name if context is not None else "unknown codec"

    def _facts(self) -> SoundFacts:
        assert self._first is not None
        stream, container, frame = self._stream, self._container, self._first
        codec = self._codec()
        rate, channels = frame.sample_rate, len(frame.layout.channels)
        kind = frame.format.name.removesuffix("p")
        bits = _BITS.get(codec, frame.format.bits)
        if "24" in codec:
            bits = 24
        stored = stream.codec_context.format
        lossy = codec_is_lossy(codec) or codec in ("pcm_alaw", "pcm_mulaw")
        has_video = any(not _is_cover(video) for video in container.streams.video)
        raw_bits = getattr(stream.codec_context, "bits_per_raw_sample", 0) or 0
        return SoundFacts(
            name=self._path.name,
            rate=rate,
            channels=channels,
            samples=self._limit or self._estimate(rate),
            reader="ffmpeg",
            container=container.format.name,
            codec=codec,
            bits=0 if lossy else (raw_bits or bits),
            floating=not lossy and stored is not None and kind in ("flt", "dbl"),
            lossy=lossy,
            bit_rate=stream.codec_context.bit_rate or (0 if has_video else container.bit_rate) or 0,
            layout=frame.layout.name or f"{channels} channels",
            tags=_tags({**stream.metadata, **container.metadata}),
            has_video=has_video,
            start=max(float(frame.time or 0.0), 0.0),
        )

    def _presented(self) -> int:
        """Samples that a QuickTime-like container says are to be heard; 0 where none says so.

        ffmpeg leaves out what an edit list cuts from the start, but not what the encoder added to
        fill its last block.
        """
        stream, frame = self._stream, self._first
        if frame is None or stream.duration is None or stream.time_base is None:
            return 0
        if not self._container.format.name.startswith("mov") or not stream.frames:
            return 0  # in fragments, the header knows only the first
        return round(stream.duration * stream.time_base * frame.sample_rate)

    def _estimate(self, rate: int) -> int:
        stream = self._stream
        if stream.duration is not None and stream.time_base is not None:
            return max(round(stream.duration * stream.time_base * rate), 0)
        return max(round((self._container.duration or 0) * 1e-6 * rate), 0)

    def _decoded(self) -> Iterator[AudioFrame]:
        """Frames in order; see `Decoded`."""
        frames = Decoded(self._container, self._stream)
        yield from frames
        if frames.broken:
            places = f"{frames.broken} place{'s' if frames.broken > 1 else ''}"
            self._note(
                f"{self._path.name} is damaged in {places}; what could not be decoded is missing "
                "or silent"
            )

    def _samples(self) -> Iterator[NDArray[np.float32]]:
        """Arrays of (n, channels); gaps in the time stamps are filled with silence."""
        assert self._first is not None
        first = self._first
        rate, channels = first.sample_rate, len(first.layout.channels)
        begin = float(first.time or 0.0)
        done = 0
        filled = 0.0
        frame: AudioFrame | None = first
        self._first = None
        while frame is not None:
            if frame.sample_rate != rate or len(frame.layout.channels) != channels:
                raise UserError(
                    f"{self._path.name} changes its rate or its channels after {done / rate:.1f} s;"
                    " cut it there, or convert it to WAV first"
                )
            gap = float(frame.time) - begin - done / rate if frame.time is not None else 0.0
            if _GAP < gap < _LONGEST_GAP and filled < _LONGEST_GAP:
                filled += gap
                silence = round(gap * rate)
                done += silence
                for at in range(0, silence, rate):
                    yield np.zeros((min(rate, silence - at), channels), dtype=np.float32)
            part = _floats(frame)
            if self._limit:
                part = part[: max(self._limit - done, 0)]
            done += len(part)
            if len(part):
                yield part
            frame = next(self._frames, None)
        if filled:
            self._note(
                f"{self._path.name} has gaps of {filled:.1f} s in all in its sound; they are "
                "filled with silence, so that it stays with its picture"
            )

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _tags(found: Mapping[str, str]) -> dict[str, str]:
    """Those that are kept, under the names of `SoundFacts.tags`."""
    named = {_TAGS.get(name.lower(), ""): text for name, text in found.items() if text}
    named.pop("", None)
    return named


def _is_cover(stream: object) -> bool:
    """A picture of a record's cover is stored as a video of one frame."""
    disposition = getattr(stream, "disposition", None)
    with suppress(TypeError):
        return bool(disposition & Disposition.attached_pic)  # pyright: ignore[reportOptionalOperand]
    return False


def _floats(frame: AudioFrame) -> NDArray[np.float32]:
    """(n, channels) float32 of any sample format."""
    raw = frame.to_ndarray()
    kind = frame.format.name
    planes = raw if kind.endswith("p") else raw.reshape(-1, len(frame.layout.channels)).T
    zero, scale = _INTEGERS.get(kind.removesuffix("p"), (0.0, 1.0))
    if scale != 1.0:
        planes = (planes - zero) / scale
    return np.ascontiguousarray(planes.T, dtype=np.float32)
