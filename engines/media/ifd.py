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
from typing import Any, BinaryIO, Literal

# Tag, TIFF type (1 to 13; 16 to 18 have eight bytes), values: bytes for the types 1, 2, 6 and 7,
# pairs for the rational ones.
Entry = tuple[int, int, Sequence[Any]]

_SIZE = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
    16: 8, 17: 8, 18: 8,
}  # fmt: skip
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
    16: "Q",
    17: "q",
    18: "Q",
}
_BYTES = frozenset((1, 2, 6, 7))
_RATIONAL = frozenset((5, 10))
_MOST_FOLDERS = 64
_MOST_ENTRIES = 2000
_MOST_BYTES = 32 << 20  # of one folder's values; a large colour profile takes a few megabytes
_SUB_FOLDERS = 330
_BIG = 43  # in place of 42: sizes and places of eight bytes


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


@dataclass(frozen=True)
class _Shape:
    """How wide the numbers of a folder are."""

    count: struct.Struct
    head: struct.Struct
    place: struct.Struct

    @classmethod
    def small(cls, order: str) -> _Shape:
        return cls(*(struct.Struct(order + form) for form in ("H", "HHI", "I")))

    @classmethod
    def big(cls, order: str) -> _Shape:
        return cls(*(struct.Struct(order + form) for form in ("Q", "HHQ", "Q")))

    @property
    def entry(self) -> int:
        return self.head.size + self.place.size


class IfdReader:
    """Reads folders of a TIFF that begins at `base` of an open file."""

    def __init__(self, file: BinaryIO, base: int = 0) -> None:
        """Raise `NoFoldersError` unless a byte order stands there.

        The number that follows it tells a BigTIFF; Olympus and Panasonic have their own.
        """
        self._file, self._base = file, base
        head = self._at(0, 16)
        if len(head) < 8 or head[:2] not in (b"II", b"MM"):
            raise NoFoldersError
        self.order: Literal["<", ">"] = "<" if head[:2] == b"II" else ">"
        big = struct.unpack(self.order + "H", head[2:4])[0] == _BIG and len(head) == 16
        self._shape = _Shape.big(self.order) if big else _Shape.small(self.order)
        self.start: int = self._place(head[8:16] if big else head[4:8])

    def folder(self, offset: int) -> Folder | None:
        """The folder at `offset`, or None where the file ends before it begins."""
        form = self._shape
        head = self._at(offset, form.count.size)
        if len(head) < form.count.size:
            return None
        count = min(form.count.unpack(head)[0], _MOST_ENTRIES)
        table = self._at(offset + form.count.size, form.entry * count + form.place.size)
        entries: dict[int, Entry] = {}
        room = _MOST_BYTES
        for at in range(0, min(form.entry * count, len(table) - form.entry + 1), form.entry):
            code, kind, number = form.head.unpack_from(table, at)
            size = _SIZE.get(kind, 0) * number
            if not 0 < size <= room or code in entries:
                continue
            value = at + form.head.size
            data = table[value : value + size]
            if size > form.place.size:
                data = self._at(form.place.unpack_from(table, value)[0], size)
            if len(data) == size:
                room -= size
                entries[code] = (code, kind, self._values(kind, data))
        return Folder(offset, entries, self._place(table[form.entry * count :]))

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

    def _place(self, data: bytes) -> int:
        place = self._shape.place
        return place.unpack_from(data)[0] if len(data) >= place.size else 0

    def _at(self, offset: int, size: int) -> bytes:
        if offset >> 62:  # further than any file is long
            return b""
        self._file.seek(self._base + offset)
        return self._file.read(size)

    def _values(self, kind: int, data: bytes) -> Sequence[Any]:
        if kind in _BYTES:
            return data
        form = _FORMAT[kind]
        flat = struct.unpack(f"{self.order}{len(data) // struct.calcsize(form)}{form}", data)
        return tuple(zip(flat[::2], flat[1::2], strict=True)) if kind in _RATIONAL else flat


def pack_ifd(
    entries: Sequence[Entry], offset: int, *, order: str = "<", big: bool = False
) -> bytes:
    """One folder that starts at `offset`, its values behind it.

    Args:
        entries: in any order.
        offset: place of the folder from the beginning of the TIFF.
        order: "<" little-endian or ">" big-endian, as the TIFF's head says.
        big: as a BigTIFF has it.
    """
    form = _Shape.big(order) if big else _Shape.small(order)
    ordered = sorted(entries, key=lambda entry: entry[0])
    head = form.count.pack(len(ordered))
    body = b""
    start = offset + form.count.size + form.entry * len(ordered) + form.place.size
    for code, kind, values in ordered:
        data = _packed(kind, values, order)
        count = len(data) // _SIZE[kind]
        if len(data) <= form.place.size:
            place = data.ljust(form.place.size, b"\0")
        else:
            place = form.place.pack(start + len(body))
            body += data + b"\0" * (len(data) % 2)
        head += form.head.pack(code, kind, count) + place
    return head + form.place.pack(0) + body


def append(file: BinaryIO, data: bytes) -> int:
    """Write `data` at the end of a file, at an even place, and return that place."""
    file.seek(0, 2)
    if file.tell() % 2:
        file.write(b"\0")
    place = file.tell()
    file.write(data)
    return place


def append_ifd(
    file: BinaryIO, entries: Sequence[Entry], *, order: str = "<", big: bool = False
) -> int:
    """Write a folder at the end of a file and return its place; see `pack_ifd`."""
    place = append(file, b"")
    file.write(pack_ifd(entries, place, order=order, big=big))
    return place


def ascii_entry(code: int, text: str) -> Entry:
    """A text entry; what the tag's seven bits cannot hold is written as UTF-8, as others do."""
    return (code, 2, text.encode("utf-8", "replace") + b"\0")


def _packed(kind: int, values: Sequence[Any], order: str) -> bytes:
    if isinstance(values, bytes):
        return values
    if kind in _RATIONAL:
        flat = [number for value in values for number in _ratio(value)]
        return struct.pack(f"{order}{len(flat)}{_FORMAT[kind]}", *flat)
    return struct.pack(f"{order}{len(values)}{_FORMAT[kind]}", *values)


def _ratio(value: Fraction | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value.numerator, value.denominator)
