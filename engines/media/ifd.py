"""TIFF folders (IFDs): reading them from any TIFF-like file, and packing our own.

RAW files of most makers, DNG, TIFF and EXIF blocks are made of them. Done by hand, because no
library both reads a stranger's damaged folders without harm and nests an EXIF folder in what it
writes: here a broken entry is left out, nothing is followed twice, and sizes are bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

# Tag, TIFF type (1 to 13), values: bytes for the types 1, 2, 6 and 7, pairs for the rational ones.
Entry = tuple[int, int, Sequence[Any]]

_SIZE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_FORMAT = {
    1: "B",
    3: "H",
    4: "I",
    5: "I",
    6: "b",
    8: "h",
    9: "i",
    10: "i",
    11: "f",
    12: "d",
    13: "I",
}
_BYTES = frozenset((1, 2, 6, 7))
_RATIONAL = frozenset((5, 10))
_MOST_FOLDERS = 64
_MOST_ENTRIES = 2000
_MOST_BYTES = 32 << 20  # of one folder's values; a large colour profile takes a few megabytes
_SUB_FOLDERS = 330


class NoFoldersError(ValueError):
    """The bytes do not begin like a TIFF."""


@dataclass(frozen=True)
class Folder:
    """One folder: its entries by tag, and the place of the folder that follows, 0 for none."""

    offset: int
    entries: Mapping[int, Entry]
    following: int

    def numbers(self, code: int) -> tuple[float, ...]:
        """An entry as numbers, ratios divided out (0 where the denominator is); () if absent."""
        entry = self.entries.get(code)
        if entry is None or entry[1] in (2, 7):
            return ()
        if entry[1] in _RATIONAL:
            return tuple(n / d if d else 0.0 for n, d in entry[2])
        return tuple(float(value) for value in entry[2])

    def number(self, code: int, default: int = 0) -> int:
        """The first of an entry's numbers as a whole number."""
        return int(next(iter(self.numbers(code)), default))

    def text(self, code: int, most: int = 500) -> str:
        """An entry as text, without padding; "" if absent."""
        entry = self.entries.get(code)
        if entry is None or entry[1] != 2:
            return ""
        whole = bytes(entry[2]).split(b"\0")[0].decode("utf-8", "replace")
        return "".join(c for c in whole if c.isprintable()).strip()[:most]


class IfdReader:
    """Reads folders of a TIFF that begins at `base` of an open file."""

    def __init__(self, file: BinaryIO, base: int = 0) -> None:
        """Raise `NoFoldersError` unless a byte order stands there.

        The number that follows it is not looked at: Olympus and Panasonic have their own.
        """
        self._file, self._base = file, base
        head = self._at(0, 8)
        if len(head) < 8 or head[:2] not in (b"II", b"MM"):
            raise NoFoldersError
        self._order = "<" if head[:2] == b"II" else ">"
        self.start: int = struct.unpack(self._order + "I", head[4:])[0]

    def folder(self, offset: int) -> Folder | None:
        """The folder at `offset`, or None where the file ends before it begins."""
        head = self._at(offset, 2)
        if len(head) < 2:
            return None
        count = min(struct.unpack(self._order + "H", head)[0], _MOST_ENTRIES)
        table = self._at(offset + 2, 12 * count + 4)
        entries: dict[int, Entry] = {}
        room = _MOST_BYTES
        for at in range(0, min(12 * count, len(table) - 11), 12):
            code, kind, number = struct.unpack(self._order + "HHI", table[at : at + 8])
            size = _SIZE.get(kind, 0) * number
            if not 0 < size <= room or code in entries:
                continue
            data = table[at + 8 : at + 8 + size]
            if size > 4:
                data = self._at(struct.unpack(self._order + "I", table[at + 8 : at + 12])[0], size)
            if len(data) == size:
                room -= size
                entries[code] = (code, kind, self._values(kind, data))
        tail = table[12 * count : 12 * count + 4]
        following = struct.unpack(self._order + "I", tail)[0] if len(tail) == 4 else 0
        return Folder(offset, entries, following)

    def folders(self) -> Iterator[Folder]:
        """The chain of folders, each followed by its sub-folders; none twice."""
        waiting, seen = [self.start], {0}
        while waiting and len(seen) <= _MOST_FOLDERS:
            offset = waiting.pop(0)
            if offset in seen:
                continue
            seen.add(offset)
            found = self.folder(offset)
            if found is None:
                continue
            yield found
            inner = [int(place) for place in found.numbers(_SUB_FOLDERS)]
            waiting = [*inner, found.following, *waiting]

    def _at(self, offset: int, size: int) -> bytes:
        self._file.seek(self._base + offset)
        return self._file.read(size)

    def _values(self, kind: int, data: bytes) -> Sequence[Any]:
        if kind in _BYTES:
            return data
        form = _FORMAT[kind]
        flat = struct.unpack(f"{self._order}{len(data) // struct.calcsize(form)}{form}", data)
        return tuple(zip(flat[::2], flat[1::2], strict=True)) if kind in _RATIONAL else flat


def pack_ifd(entries: Sequence[Entry], offset: int) -> bytes:
    """One little-endian folder that starts at `offset`, its values behind it."""
    ordered = sorted(entries, key=lambda entry: entry[0])
    head = struct.pack("<H", len(ordered))
    body = b""
    start = offset + 2 + 12 * len(ordered) + 4
    for code, kind, values in ordered:
        data = _packed(kind, values)
        count = len(data) // _SIZE[kind]
        if len(data) <= 4:
            place = data.ljust(4, b"\0")
        else:
            place = struct.pack("<I", start + len(body))
            body += data + b"\0" * (len(data) % 2)
        head += struct.pack("<HHI", code, kind, count) + place
    return head + struct.pack("<I", 0) + body


def append(file: BinaryIO, data: bytes) -> int:
    """Write `data` at the end of a file, at an even place, and return that place."""
    file.seek(0, 2)
    if file.tell() % 2:
        file.write(b"\0")
    place = file.tell()
    file.write(data)
    return place


def append_ifd(file: BinaryIO, entries: Sequence[Entry]) -> int:
    """Write a folder at the end of a file and return its place."""
    place = append(file, b"")
    file.write(pack_ifd(entries, place))
    return place


def ascii_entry(code: int, text: str) -> Entry:
    """A text entry; what the tag's seven bits cannot hold is written as UTF-8, as others do."""
    return (code, 2, text.encode("utf-8", "replace") + b"\0")


def _packed(kind: int, values: Sequence[Any]) -> bytes:
    if isinstance(values, bytes):
        return values
    if kind in _RATIONAL:
        flat = [number for value in values for number in _ratio(value)]
        return struct.pack(f"<{len(flat)}{_FORMAT[kind]}", *flat)
    return struct.pack(f"<{len(values)}{_FORMAT[kind]}", *values)


def _ratio(value: Fraction | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value.numerator, value.denominator)
