"""What a film is, read from its header and its first frame."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

from av.container import InputContainer
from av.error import FFmpegError
from av.sidedata.sidedata import SideData, Type
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from engines.base import UserError
from engines.media.opening import beginning
from engines.media.sound_ffmpeg import open_media

_UPRIGHT = (1 << 16, 0, 0, 1 << 16)
_UNKNOWN = 2  # of primaries, transfer and matrix (ITU-T H.273)
_BT709, _SMPTE170M = 1, 6
_STANDARD = 576  # lines; a film of no more is taken to be in the colours of television before HD
_LIMITED, _FULL = 1, 2  # ffmpeg's ranges
_MOST_PIXELS = 1 << 26
_PACKETS = 4000  # that are looked at for a first frame
_NO_RGB = 0  # the matrix of what is stored as RGB


@dataclass(frozen=True)
class Colours:
    """Code points of ITU-T H.273, and the range (1 limited, 2 full), all as ffmpeg has them."""

    matrix: int
    primaries: int
    transfer: int
    range: int


@dataclass(frozen=True)
class VideoFacts:
    """A film as its header and its first frame describe it.

    Attributes:
        name: the file's name.
        width: pixels of a frame as it is stored, before it is turned.
        height: likewise.
        turned: how a player turns or mirrors it: the upper left 2 x 2 of the matrix that the film
            holds, row by row as 16.16 fixed-point numbers; None where it is shown as it is stored.
        bits: of a sample, 8 or more.
        codec: ffmpeg's name.
        container: likewise.
        rate: frames a second in the mean; 0 where it is unknown.
        seconds: length as the header has it; 0 where it says nothing.
        shape: width over height of a pixel.
        colours: as the frames say; what they do not say is guessed by their size.
        interlaced: a frame holds two moments.
        has_sound: there is a sound track.
        has_alpha: frames are transparent somewhere, which is not kept.
    """

    name: str
    width: int
    height: int
    turned: tuple[int, int, int, int] | None
    bits: int
    codec: str
    container: str
    rate: Fraction
    seconds: float
    shape: Fraction
    colours: Colours
    interlaced: bool
    has_sound: bool
    has_alpha: bool

    @property
    def shown(self) -> tuple[int, int]:
        """(height, width) as a player shows it, without the shape of pixels."""
        upright = self.turned is None or abs(self.turned[0]) >= abs(self.turned[1])
        return (self.height, self.width) if upright else (self.width, self.height)

    @property
    def frames(self) -> int:
        """About how many there are; 0 where that is unknown."""
        return round(self.seconds * self.rate)


def read_video_facts(path: Path) -> VideoFacts:
    """What a film is.

    Raises:
        UserError: it is no film that can be read; the sentence says why.
    """
    with opened(path) as container:
        stream = picture_stream(container, path.name)
        return facts_of(container, stream, first_frame(container, stream, path.name), path.name)


def opened(path: Path) -> InputContainer:
    """Open a film.

    Raises:
        UserError: it is missing, empty or no media file.
    """
    beginning(path, 16, wanted="a film", again="copy it again")
    try:
        return open_media(path)
    except (FFmpegError, ValueError) as error:
        raise UserError(
            f"{path.name} is no film that can be read, or it is damaged; convert it to MP4 first"
        ) from error


def picture_stream(container: InputContainer, name: str) -> VideoStream:
    """The best moving picture of a file.

    Raises:
        UserError: there is none, or its frames are too large.
    """
    moving = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    best = container.streams.best("video")
    if not moving:
        raise UserError(f"{name} holds no moving picture; choose a film")
    stream = next((one for one in moving if one is best), moving[0])
    if stream.codec_context is None:
        raise UserError(f"The picture of {name} is of an unknown kind; convert it to MP4 first")
    if stream.codec_context.width * stream.codec_context.height > _MOST_PIXELS:
        raise UserError(f"The frames of {name} are too large; make them smaller first")
    return stream


def first_frame(container: InputContainer, stream: VideoStream, name: str) -> VideoFrame:
    """The first frame that can be decoded.

    Raises:
        UserError: there is none.
    """
    try:
        for number, packet in enumerate(container.demux(stream)):
            for frame in _decoded(packet):
                return frame
            if number > _PACKETS:
                break
    except FFmpegError:
        pass
    raise undecodable(stream, name)


def undecodable(stream: VideoStream, name: str) -> UserError:
    """No frame of a film can be decoded."""
    return UserError(
        f"The picture of {name} cannot be decoded ({stream.codec_context.name}): it is encrypted, "
        "damaged or of an unknown kind"
    )


def _decoded(packet: object) -> list[VideoFrame]:
    try:
        return packet.decode()  # type: ignore[attr-defined]
    except FFmpegError:
        return []


def facts_of(
    container: InputContainer, stream: VideoStream, frame: VideoFrame, name: str
) -> VideoFacts:
    """Facts from what was opened and its first frame."""
    seconds = 0.0
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration * 1e-6
    rate = stream.average_rate or stream.guessed_rate or Fraction(0)
    form = frame.format
    return VideoFacts(
        name=name,
        width=frame.width,
        height=frame.height,
        turned=_turned(frame),
        bits=max((component.bits for component in form.components), default=8),
        codec=stream.codec_context.name,
        container=container.format.name,
        rate=Fraction(rate),
        seconds=max(seconds, 0.0),
        shape=Fraction(stream.sample_aspect_ratio or 1) or Fraction(1),
        colours=_colours(frame),
        interlaced=bool(frame.interlaced_frame),
        has_sound=bool(container.streams.audio),
        has_alpha=any(c.is_alpha for c in form.components),
    )


def _turned(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    for side in cast("Iterable[SideData]", frame.side_data):
        if side.type == Type.DISPLAYMATRIX:
            a, b, _, c, d = struct.unpack("=5i", bytes(side)[:20])  # type: ignore[call-overload]
            found = (a, b, c, d)
            return None if found == _UPRIGHT else found
    return None


def _colours(frame: VideoFrame) -> Colours:
    """What a player would take the frame's numbers for, said plainly.

    A film that says nothing is shown by the size of its frames, which would change here.
    """
    guess = _SMPTE170M if min(frame.width, frame.height) <= _STANDARD else _BT709
    matrix = guess if frame.colorspace in (_UNKNOWN, _NO_RGB) else int(frame.colorspace)
    jpeg = frame.format.name.startswith("yuvj") or frame.format.is_rgb
    full = jpeg or frame.color_range == _FULL
    return Colours(
        matrix,
        int(frame.color_primaries),
        int(frame.color_trc),
        _FULL if full else _LIMITED,
    )
