"""What ffmpeg's libraries read of a media file, as far as it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from av.container import InputContainer
from av.error import EOFError as EndOfMedia
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream


class Decoded:
    """Frames of one stream in order; what cannot be decoded is left out, as players do.

    Attributes:
        broken: places that could not be decoded, complete once the end was reached.
    """

    def __init__(self, container: InputContainer, stream: Stream) -> None:
        self._container, self._stream = container, stream
        self.broken = 0

    def __iter__(self) -> Iterator[Any]:
        """Frames of the stream's kind, from where the container is."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except FFmpegError:  # the file ends within a block, or is damaged from here on
                self.broken += 1
                return
            try:
                yield from packet.decode()
            except EndOfMedia:
                return
            except FFmpegError:
                self.broken += 1


def whole(packets: Iterator[Packet], damaged: Callable[[], None]) -> Iterator[Packet]:
    """The packets that hold something, up to where a file that was cut short ends.

    `damaged` is called if it does.
    """
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except FFmpegError:
            damaged()
            return
        if packet.size:
            yield packet
