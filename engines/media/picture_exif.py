"""EXIF blocks of pictures: put right in place, so that all else in them stays as it was.

A block is a small TIFF whose entries, and above all the maker's own note, point into it. Nothing
is therefore moved: only the values that are no longer true are overwritten.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Literal

from engines.media.ifd import Entry, Folder, IfdReader, NoFoldersError, append_ifd

_ORIENTATION, _EXIF, _GPS = 274, 34665, 34853
_WIDTHS, _HEIGHTS = (256, 40962), (257, 40963)
_MAKER_NOTE, _INTEROPERABILITY = 37500, 40965
_THUMBNAIL_START, _THUMBNAIL_SIZE = 513, 514
_SHORT, _LONG = 3, 4
# Texts of a first folder that tell about the scene rather than about the file.
FIRST_TAGS = (
    270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, 40091, 40092, 40093, 40094, 40095,
)  # fmt: skip


class ExifBlock:
    """An EXIF block and where the folders in it stand.

    Raises:
        NoFoldersError: the bytes are no EXIF block.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data.removeprefix(b"Exif\0\0")
        if self.data[:4] not in (b"II*\0", b"MM\0*"):
            raise NoFoldersError
        self._reader = IfdReader(BytesIO(self.data))
        first = self._reader.folder(self._reader.start)
        if first is None or not first.entries:
            raise NoFoldersError
        self.first: Folder = first
        self.order: Literal["<", ">"] = self._reader.order

    @property
    def exif(self) -> Folder | None:
        """The EXIF folder, if it can be read."""
        return self._inner(_EXIF)

    @property
    def gps(self) -> Folder | None:
        """The folder of the place, likewise."""
        return self._inner(_GPS)

    @property
    def orientation(self) -> int:
        """1 to 8 as EXIF has it; 1 where nothing sensible is said."""
        found = self.first.number(_ORIENTATION, 1)
        return found if 1 <= found <= 8 else 1

    def upright(self) -> bytes:
        """The block for the turned picture: orientation 1, no thumbnail."""
        data = bytearray(self.data)
        for code, at in self._places(self.first.offset):
            if code == _ORIENTATION:
                self._put(data, at, _SHORT, 1)
        return bytes(self._without_thumbnail(data))

    def sized(self, width: int, height: int) -> bytes:
        """The block with its size tags, where it has them, set to this size in pixels."""
        data = bytearray(self.data)
        exif = self.exif
        for folder in (self.first, *((exif,) if exif else ())):
            for code, at in self._places(folder.offset):
                if code in _WIDTHS or code in _HEIGHTS:
                    self._put(data, at, _LONG, width if code in _WIDTHS else height)
        return bytes(data)

    def _inner(self, code: int) -> Folder | None:
        place = self.first.number(code)
        folder = self._reader.folder(place) if place else None
        return folder if folder is not None and folder.entries else None

    def _places(self, offset: int) -> Iterator[tuple[int, int]]:
        """Code and place of every entry of the folder at `offset`."""
        (count,) = struct.unpack_from(self.order + "H", self.data, offset)
        end = min(offset + 2 + 12 * count, len(self.data) - 11)
        for at in range(offset + 2, end, 12):
            yield struct.unpack_from(self.order + "H", self.data, at)[0], at

    def _put(self, data: bytearray, at: int, kind: int, value: int) -> None:
        form = "HH" if kind == _SHORT else "I"
        values = (value, 0) if kind == _SHORT else (value,)
        struct.pack_into(f"{self.order}HI{form}", data, at + 2, kind, 1, *values)

    def _without_thumbnail(self, data: bytearray) -> bytearray:
        """Unlink the second folder; its picture is cut off, or blanked where it is not the end."""
        place = self.first.following
        if not place:
            return data
        (count,) = struct.unpack_from(self.order + "H", self.data, self.first.offset)
        struct.pack_into(self.order + "I", data, self.first.offset + 2 + 12 * count, 0)
        folder = self._reader.folder(place)
        if folder is None:
            return data
        start, size = folder.number(_THUMBNAIL_START), folder.number(_THUMBNAIL_SIZE)
        last = max(self.first.offset, self.first.number(_EXIF), self.first.number(_GPS))
        if not last < start < len(data) or size <= 0:
            return data
        if start + size + 4 >= len(data):
            return data[:start]
        data[start : start + size] = bytes(size)
        return data


def block_of(data: bytes | None) -> tuple[bytes | None, int]:
    """The upright form of what a picture has as its EXIF, and the orientation that it had.

    What is no EXIF block is left out.
    """
    try:
        block = ExifBlock(data or b"")
    except (NoFoldersError, struct.error):
        return None, 1
    return block.upright(), block.orientation


def packed_exif(
    first: Sequence[Entry], exif: Sequence[Entry] = (), gps: Sequence[Entry] = ()
) -> bytes | None:
    """A block of its own from the entries of a TIFF's folders; None where there are none."""
    file = BytesIO(b"II*\0\0\0\0\0")
    entries = [entry for entry in first if entry[0] in FIRST_TAGS]
    for code, inner in ((_EXIF, movable(exif)), (_GPS, movable(gps))):
        if inner:
            entries.append((code, 4, (append_ifd(file, inner),)))
    if not entries:
        return None
    start = append_ifd(file, entries)
    file.seek(4)
    file.write(struct.pack("<I", start))
    return file.getvalue()


def movable(entries: Sequence[Entry]) -> list[Entry]:
    """Entries that mean the same in another place: no maker's note, no pointers."""
    return [
        entry
        for entry in entries
        if entry[0] not in (_MAKER_NOTE, _INTEROPERABILITY) and entry[1] <= 12
    ]
