"""A zip archive sent while it is being made: no temporary file, memory of one piece."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

_PIECE = 1 << 20


@dataclass(frozen=True)
class Member:
    """One file to pack, and the name that it gets unless another has it already."""

    path: Path
    name: str


class _Pipe(io.RawIOBase):
    """Collects what zipfile writes until it is taken away; it cannot seek, so sizes follow data."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def zip_stream(members: Sequence[Member]) -> Iterator[bytes]:
    """Yield an uncompressed archive of `members` (RAW and JPEG do not shrink) in pieces.

    Members of one name are told apart as "name-2.dng".
    """
    pipe = _Pipe()
    taken: set[str] = set()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for member in members:
            name = _free_name(member.name, taken)
            modified = time.localtime(member.path.stat().st_mtime)[:6]
            info = zipfile.ZipInfo(name, date_time=(max(modified[0], 1980), *modified[1:]))
            info.external_attr = 0o644 << 16
            with (
                member.path.open("rb") as source,
                archive.open(info, "w", force_zip64=True) as target,
            ):
                while piece := source.read(_PIECE):
                    target.write(piece)
                    yield pipe.take()
    yield pipe.take()


def _free_name(name: str, taken: set[str]) -> str:
    path = PurePath(name)
    number, free = 1, name
    while free.casefold() in taken:  # they may be unpacked where A.dng and a.dng are one file
        number += 1
        free = f"{path.stem}-{number}{path.suffix}"
    taken.add(free.casefold())
    return free
