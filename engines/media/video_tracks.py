"""The tracks of a film besides its picture, copied into another one packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from engines.media.decoded import whole
from engines.media.sound_ffmpeg import open_media
from engines.media.video_read import VideoReader

_LATE = 0.5  # seconds at the beginning, as of a broadcast that was cut out, that are taken off


class OtherTracks:
    """Sound and subtitles of the film that a reader reads.

    Attributes:
        begin: seconds of the film that become nought.
        metadata: the film's tags.
        notes: sentences for the person, what is left out.

    Raises:
        av.error.FFmpegError: the film cannot be opened.
    """

    def __init__(self, source: Path, reader: VideoReader) -> None:
        self.notes: list[str] = []
        self._original = open_media(source)
        self.metadata = dict(self._original.metadata)
        self._picture, self._cut = reader.index, reader.cut
        self._end = None if reader.end is None else float(reader.end * reader.time_base)
        late = (self._original.start_time or 0) * 1e-6
        begin = float(reader.begin * reader.time_base)
        self.begin = begin if reader.cut else late if late > _LATE else 0.0
        self._copies: dict[int, Stream] = {}
        self._packets: Iterator[Packet] = iter(())
        self._next: Packet | None = None

    def add_to(self, made: OutputContainer, picture: Stream, muxer: str) -> None:
        """Add their streams to a film that has its picture; before the first packet is written."""
        self._made = made
        for stream in self._original.streams:
            if stream.index == self._picture:
                _describe(stream, picture)
                continue
            known = stream.codec_context is not None  # what is no codec's cannot be copied
            text = known and stream.type == "subtitle"
            text = text and (muxer != "mp4" or stream.codec_context.name == "mov_text")
            if text or (known and stream.type == "audio"):
                self._copies[stream.index] = made.add_stream_from_template(stream)
                _describe(stream, self._copies[stream.index])
            else:
                kind = {"subtitle": "subtitles", "video": "pictures", "audio": "sound"}.get(
                    stream.type, "data"
                )
                self._note(f"A track of {kind} is left out of the new film")
        if self._cut:
            if self.begin > 0.0:
                with suppress(FFmpegError):
                    self._original.seek(round(self.begin * 1e6), backward=True)
        else:
            with suppress(AttributeError, ValueError):
                made.set_chapters(self._original.chapters())
        self._packets = self._whole()
        self._next = next(self._packets, None)

    def copy_up_to(self, seconds: float | None) -> None:
        """Mux the packets up to a time of the film, so that none waits in memory; None is all."""
        end = self._end
        while self._next is not None:
            packet = self._next
            when = _seconds(packet)
            if when is not None and seconds is not None and when > seconds:
                return
            if end is not None and when is not None and when > end + _LATE:
                self._next = None
                return
            if when is None or (
                (not self._cut or when >= self.begin) and (end is None or when < end)
            ):
                self._mux(packet)
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the film; may be called twice."""
        self._original.close()

    def _mux(self, packet: Packet) -> None:
        assert packet.time_base is not None
        shift = round(Fraction(self.begin) / Fraction(packet.time_base))
        if shift:
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = self._copies[packet.stream.index]
        self._made.mux(packet)

    def _whole(self) -> Iterator[Packet]:
        """The packets that hold something, up to where a file that was cut short ends."""
        streams = [one for one in self._original.streams if one.index in self._copies]
        packets = self._original.demux(streams) if streams else iter(())
        text = "The film ends early or is damaged; its sound was copied up to there"
        return whole(packets, lambda: self._note(text))

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _seconds(packet: Packet) -> float | None:
    time = packet.dts if packet.dts is not None else packet.pts
    if time is None or packet.time_base is None:
        return None
    return float(time * packet.time_base)


def _describe(old: Stream, new: Stream) -> None:
    """Language, title and role of a track."""
    for name, text in old.metadata.items():
        if name in ("language", "title", "handler_name"):
            new.metadata[name] = text
    with suppress(AttributeError, TypeError):
        new.disposition = old.disposition  # pyright: ignore[reportAttributeAccessIssue]
