"""Opening a RAW with LibRaw, and one sentence for whatever cannot be opened."""

from __future__ import annotations

import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import rawpy

from engines.base import UserError
from engines.media.dng_source import CFA, DngSource, read_dng_source
from engines.media.ifd import IfdReader, NoFoldersError
from engines.media.opening import beginning

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"RIFF", "a RIFF file (sound, video or WebP)"),
)
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"IIU\0", b"IIRO", b"IIRS", b"MMOR")
_LIBRAW_SMALLEST = 22  # pixels a side; LibRaw takes anything smaller for damaged


def open_raw(raw: rawpy.RawPy, path: Path) -> DngSource | None:
    """Open and unpack `path` into `raw`; returns what it says as a DNG, if it is one.

    Raises:
        UserError: it is missing, empty, cut short, no RAW, or of a kind that LibRaw does not read.
    """
    start = beginning(
        path, 16, wanted="the one that the camera wrote", again="copy it again from the card"
    )
    for magic, what in _MAGIC:
        if start.startswith(magic):
            raise UserError(f"{path.name} is {what}, not a camera RAW, whatever its name says")
    if start.startswith(b"FOVb"):
        raise UserError(
            f"{path.name} comes from a Foveon sensor, whose layers are not read here; convert it "
            "to a linear DNG with its maker's program"
        )
    dng = read_dng_source(path)
    if dng is not None:
        _refuse_dng(path, dng)
    with reading(path):
        raw.open_file(str(path))
        raw.unpack()  # rawpy tells a file's colours only after it
    return dng


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Within, what LibRaw says against a file becomes one sentence.

    Raises:
        UserError: LibRaw could not read it.
    """
    try:
        yield
    except (MemoryError, rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawTooBigError) as error:
        raise UserError(f"{path.name} is too large for this machine's memory") from error
    except (rawpy.LibRawError, OSError, ValueError) as error:
        raise UserError(_damaged(path, error)) from error


def _refuse_dng(path: Path, dng: DngSource) -> None:
    """What LibRaw would call damaged, or read although it is no plain mosaic."""
    if dng.lossy:
        raise UserError(
            f"{path.name} is a lossy DNG, whose noise is no longer the sensor's; choose the "
            "original"
        )
    height, width = dng.size
    if dng.photometric == CFA and min(height, width) < _LIBRAW_SMALLEST:
        raise UserError(
            f"{path.name} holds a picture of {width} x {height} pixels; at least "
            f"{_LIBRAW_SMALLEST} x {_LIBRAW_SMALLEST} are needed"
        )


def _damaged(path: Path, error: Exception) -> str:
    """The sentence for what LibRaw could not read."""
    with path.open("rb") as file:
        start = file.read(16)
        whole = _expected_bytes(file, start)
    ciff = start[6:14] == b"HEAPCCDR"
    known = start.startswith((*_TIFF_MAGIC, b"FUJIFILM", b"\0MRM")) or start[4:12] == b"ftypcrx "
    if not (known or ciff):
        return f"{path.name} is not a camera RAW file; choose the file that the camera wrote"
    there = path.stat().st_size
    if whole > there:
        return (
            f"{path.name} ends early: {_amounts(there, whole)} are there; "
            "copy it again from the card"
        )
    if isinstance(error, rawpy.LibRawFileUnsupportedError) and not ciff:
        return (
            f"{path.name} is damaged, or of a kind that LibRaw does not read; copy it again from "
            "the card, or convert it to DNG"
        )
    return f"{path.name} is damaged or cut short; copy it again from the card"


def _amounts(there: int, whole: int) -> str:
    if whole - there < 100_000:
        return f"{there} of {whole} bytes"
    if there < 100_000:
        return f"{there / 1e3:.1f} of {whole / 1e3:.1f} kB"
    return f"{there / 1e6:.1f} of {whole / 1e6:.1f} MB"


def _expected_bytes(file: BinaryIO, start: bytes) -> int:
    """Where the last part of the file that its beginning speaks of ends; 0 where nobody knows."""
    try:
        if start[4:8] == b"ftyp":
            return _end_of_boxes(file)
        return _end_of_tiff(file) if start.startswith(_TIFF_MAGIC) else 0
    except (NoFoldersError, struct.error):
        return 0


def _end_of_boxes(file: BinaryIO) -> int:
    """End of the last top-level box of an ISO media file (Canon's CR3)."""
    place = 0
    for _ in range(64):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            break
        size = struct.unpack(">I", head[:4])[0]
        if size == 1 and len(head) == 16:
            size = struct.unpack(">Q", head[8:])[0]
        if size < 8:  # 0: "up to the end of the file"
            break
        place += size
    return place


def _end_of_tiff(file: BinaryIO) -> int:
    """End of the last folder, strip, tile or preview of a TIFF-like file."""
    reader = IfdReader(file)
    whole = reader.start + 2
    for folder in reader.folders():
        whole = max(whole, folder.following, *(int(place) for place in folder.numbers(330)), 0)
        for places, counts in ((273, 279), (324, 325), (513, 514)):
            starts, sizes = folder.numbers(places), folder.numbers(counts)
            ends = [int(a + n) for a, n in zip(starts, sizes, strict=False)]
            whole = max(whole, *ends, 0)
    return whole
