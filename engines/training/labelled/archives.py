"""Sounds out of games' archives: catalogues of OpenTTD, Qt resources, groups of OpenClonk, zips.

Each is unpacked once into a folder beside the cache; only sounds are taken. The layouts are read
off the files: OpenTTD's catalogue begins with (offset, size) pairs of 32 bits, at each offset lie
the length of a name, the name and a RIFF body. A Qt resource file has a tree of 22-byte nodes, a
table of names and one of data. A group of OpenClonk is a gzip stream with two other magic bytes;
its head of 204 bytes is disguised by an exclusive or and a swap, entries are 316 bytes long.
"""

from __future__ import annotations

import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from engines.base import UserError

SUFFIXES = frozenset({".wav", ".ogg", ".oga", ".flac", ".g722", ".mp3", ".aiff", ".opus"})
Member = tuple[str, bytes]


def unpacked(archive: Path, folder: Path) -> Path:
    """Folder with the archive's sounds, `folder/<name>`; written on the first call.

    Raises:
        UserError: the archive is damaged.
    """
    place = folder / archive.name
    if place.exists():
        return place
    partial = place.with_name(place.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, body in members(archive):
            target = partial / _safe(name)
            if target.suffix.lower() in SUFFIXES:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(body)
    except (struct.error, zlib.error, zipfile.BadZipFile, IndexError, ValueError) as error:
        raise UserError(f"{archive.name} is damaged and cannot be unpacked") from error
    partial.rename(place)
    return place


def is_archive(path: Path) -> bool:
    """Whether `unpacked` knows the kind."""
    return path.suffix.lower() in _READERS and path.is_file()


def members(archive: Path) -> Iterator[Member]:
    """Path and bytes of every file in it."""
    return _READERS[archive.suffix.lower()](archive.read_bytes())


def _safe(name: str) -> str:
    """The name without anything that would lead out of the folder."""
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..", ".")]
    return "/".join(part.replace("\\", "_").replace("\0", "") for part in parts)


def _catalogue(data: bytes) -> Iterator[Member]:
    first, _ = struct.unpack_from("<II", data)
    for number in range((first & 0x7FFFFFFF) // 8):
        offset, _ = struct.unpack_from("<II", data, 8 * number)
        offset &= 0x7FFFFFFF
        length = data[offset]
        name = data[offset + 1 : offset + 1 + length].decode("latin-1").rstrip("\0")
        title = name.split('".')[0].strip('" ').replace("/", "-")
        body = data.index(b"RIFF", offset)
        size = struct.unpack_from("<I", data, body + 4)[0] + 8
        yield f"{number:02d} {title}.wav", data[body : body + size]


def _resource(data: bytes) -> Iterator[Member]:
    magic, version, tree, bodies, names = struct.unpack_from(">4sIIII", data)
    if magic != b"qres":
        raise UserError("This is no Qt resource file")
    node = 22 if version >= 2 else 14

    def name(offset: int) -> str:
        length = struct.unpack_from(">H", data, names + offset)[0]
        begin = names + offset + 6
        return data[begin : begin + 2 * length].decode("utf-16-be")

    def walk(number: int, path: str) -> Iterator[Member]:
        place = tree + number * node
        title, flags = struct.unpack_from(">IH", data, place)
        if flags & 2:
            count, first = struct.unpack_from(">II", data, place + 6)
            inside = f"{path}{name(title)}/" if number else ""
            for child in range(first, first + count):
                yield from walk(child, inside)
            return
        begin = bodies + struct.unpack_from(">I", data, place + 10)[0]
        size = struct.unpack_from(">I", data, begin)[0]
        body = data[begin + 4 : begin + 4 + size]
        if flags & 1:  # compressed: the unpacked size comes first
            body = zlib.decompress(body[4:])
        if not flags & 4:  # zstandard is not read
            yield path + name(title), body

    yield from walk(0, "")


def _group(data: bytes) -> Iterator[Member]:
    if data[:2] == b"\x1e\x8c":
        data = zlib.decompress(b"\x1f\x8b" + data[2:], wbits=31)
    head = bytearray(byte ^ 237 for byte in data[:204])
    for place in range(0, 202, 3):
        head[place], head[place + 2] = head[place + 2], head[place]
    count = struct.unpack_from("<I", head, 36)[0]
    bodies = 204 + 316 * count
    for number in range(count):
        entry = 204 + 316 * number
        name = data[entry : entry + 260].split(b"\0")[0].decode("latin-1")
        _, child, size, _, offset = struct.unpack_from("<5i", data, entry + 260)
        body = data[bodies + offset : bodies + offset + size]
        if child:
            yield from ((f"{name}/{inner}", found) for inner, found in _group(body))
        else:
            yield name, body


def _zip(data: bytes) -> Iterator[Member]:
    from io import BytesIO

    with zipfile.ZipFile(BytesIO(data)) as archive:
        for name in archive.namelist():
            if not name.endswith("/"):
                yield name, archive.read(name)


_READERS = {
    ".cat": _catalogue,
    ".rcc": _resource,
    ".ocg": _group,
    ".ocd": _group,
    ".pk3": _zip,
}
