"""One picture out of a RAW file, which may hold several (bursts, pixel shift)."""

from __future__ import annotations

import struct
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import rawpy

from engines.base import UserError
from engines.media.dng_source import DngSource
from engines.media.raw_open import open_raw, reading

_KIND = 254  # NewSubfileType


@contextmanager
def opened(path: Path, frame: int = 0) -> Generator[tuple[rawpy.RawPy, DngSource | None]]:
    """The unpacked picture and what the file says as a DNG.

    LibRaw takes a DNG's first picture whatever is asked of it, so for another one it is given a
    copy in memory in which the others are marked as previews.

    Raises:
        UserError: it cannot be read, or holds no such picture.
    """
    raw = rawpy.RawPy()
    try:
        if frame == 0:
            yield raw, open_raw(raw, path)
            return
        dng = open_raw(rawpy.RawPy(), path)
        if dng is None or frame >= dng.frames:
            raise UserError(f"{path.name} holds no picture number {frame + 1}")
        with reading(path):
            raw.open_buffer(BytesIO(_with_one(path, dng, frame)))
            raw.unpack()
        yield raw, dng
    finally:
        raw.close()


def _with_one(path: Path, dng: DngSource, frame: int) -> bytes:
    """The file with NewSubfileType 1 in all its pictures but one.

    Raises:
        UserError: it does not say what kind its pictures are, so that nothing can be marked.
    """
    held = bytearray(path.read_bytes())
    order = "<" if held[:2] == b"II" else ">"
    for number, folder in enumerate(dng.pictures):
        if number == frame:
            continue
        [count] = struct.unpack_from(order + "H", held, folder.offset)
        places = range(folder.offset + 2, folder.offset + 2 + 12 * count, 12)
        marks = [at for at in places if struct.unpack_from(order + "H", held, at)[0] == _KIND]
        if not marks:
            raise UserError(
                f"{path.name} holds several pictures that cannot be told apart; take the first"
            )
        struct.pack_into(order + "HI", held, marks[0] + 2, 4, 1)
        struct.pack_into(order + "I", held, marks[0] + 8, 1)
    return bytes(held)
