"""A zip archive sent while it is being made: no temporary file, memory of one piece."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from studio.folders import files_below
from studio.workspace import printable

_PIECE = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file or folder to pack, or bytes, and its name unless another has that already."""

    path: Path | None
    name: str
    data: bytes = b""


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
    """Yield an uncompressed archive of `members` (RAW, JPEG and weights do not shrink) in pieces.

    Members of one name are told apart as "name-2.dng"; a folder keeps all that is in it.
    """
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for path, name, data in _files(members):
            modified = time.localtime(path.stat().st_mtime if path else None)[:6]
            info = zipfile.ZipInfo(name, date_time=(max(modified[0], 1980), *modified[1:]))
            info.external_attr = 0o644 << 16
            with (
                path.open("rb") if path else io.BytesIO(data) as source,
                archive.open(info, "w", force_zip64=True) as target,
            ):
                while piece := source.read(_PIECE):
                    target.write(piece)
                    yield pipe.take()
    yield pipe.take()


def _files(members: Sequence[Member]) -> Iterator[tuple[Path | None, str, bytes]]:
    taken: set[str] = set()
    for member in members:
        folder = member.path is not None and member.path.is_dir()
        name = _free_name(member.name, taken, suffixed=not folder)
        if member.path is None or not folder:
            yield member.path, name, member.data
            continue
        for path in files_below(member.path):
            inside = printable(path.relative_to(member.path).as_posix())
            yield path, f"{name}/{inside}", b""


def _free_name(name: str, taken: set[str], *, suffixed: bool) -> str:
    suffix = PurePath(name).suffix if suffixed else ""
    stem = name.removesuffix(suffix)
    number, free = 1, name
    while free.casefold() in taken:  # they may be unpacked where A.dng and a.dng are one file
        number += 1
        free = f"{stem}-{number}{suffix}"
    taken.add(free.casefold())
    return free
