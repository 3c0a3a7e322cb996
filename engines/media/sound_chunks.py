"""Chunks of a WAV file (RIFF and RF64): tags, broadcast extension, cue points; read and written.

libsndfile keeps none of them when a file is written anew and gives up on INFO texts longer than
two kilobytes, so they are read here, and put behind the samples of a file that it has closed.
Sources: Microsoft RIFF (1991), EBU Tech 3285 (BWF), EBU Tech 3306 (RF64).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

Chunk = tuple[bytes, bytes]

_INFO = {
    "title": b"INAM",
    "artist": b"IART",
    "album": b"IPRD",
    "date": b"ICRD",
    "genre": b"IGNR",
    "tracknumber": b"ITRK",
    "comment": b"ICMT",
    "copyright": b"ICOP",
    "software": b"ISFT",
}
_NAMES = {code: name for name, code in _INFO.items()}
_KEPT = frozenset((b"bext", b"iXML", b"axml", b"chna", b"umid", b"id3 ", b"_PMX"))
_TIMED = frozenset((b"cue ", b"adtl", b"smpl"))  # they point at samples
_MOST_BYTES = 8 << 20  # of everything that is kept
_MOST_CHUNKS = 1000
_EXTENSIBLE = 0xFFFE
_UNKNOWN = 0x7FFFF000  # sizes from here on stand for "not known yet" in what was written to a pipe


@dataclass(frozen=True)
class WavChunks:
    """What a WAV carries beside its samples.

    Attributes:
        tags: texts of LIST INFO under the names of `SoundFacts.tags`.
        kept: chunks that a copy should have too, in their order.
        channel_mask: of WAVEFORMATEXTENSIBLE, else 0.
        missing: share of the samples that its header speaks of and that are not there, 0 to 1.
    """

    tags: Mapping[str, str]
    kept: tuple[Chunk, ...]
    channel_mask: int
    missing: float


def read_chunks(path: Path) -> WavChunks:
    """Read what a RIFF or RF64 WAV carries; nothing from a file that is none.

    Raises:
        OSError: the file cannot be read.
    """
    tags: dict[str, str] = {}
    kept: list[Chunk] = []
    mask = 0
    missing = 0.0
    left = _MOST_BYTES
    with path.open("rb") as file:
        end = path.stat().st_size
        for name, size in _walk(file):
            there = end - file.tell()
            if name == b"data" and there < size < _UNKNOWN:
                missing = 1.0 - there / size
            if there < size:
                break
            if size > left or not (name in _KEPT | _TIMED or name in (b"LIST", b"fmt ")):
                continue
            content = file.read(size)
            left -= len(content)
            if name == b"fmt " and len(content) >= 24:
                tag, mask_there = struct.unpack_from("<H18xI", content)
                mask = mask_there if tag == _EXTENSIBLE else 0
            elif name == b"LIST" and content[:4] == b"INFO":
                tags |= _info(content[4:])
            elif name in _KEPT | _TIMED or content[:4] == b"adtl":
                kept.append((name, content))
    return WavChunks(tags, tuple(kept), mask, missing)


def append_chunks(path: Path, chunks: Sequence[Chunk], channel_mask: int = 0) -> None:
    """Put chunks at the end of a whole WAV and correct its header.

    Args:
        path: RIFF or RF64 as libsndfile closed it.
        chunks: ids of four bytes, and contents.
        channel_mask: written where the file has one and this is not 0.

    Raises:
        OSError: the disk is full.
    """
    with path.open("r+b") as file:
        for name, size in _walk(file):
            if name == b"fmt " and size >= 24 and channel_mask:
                start = file.tell()
                if struct.unpack("<H", file.read(2))[0] == _EXTENSIBLE:
                    file.seek(start + 20)
                    file.write(struct.pack("<I", channel_mask))
                file.seek(start)
        file.seek(0, 2)
        if file.tell() % 2:
            file.write(b"\0")
        for name, content in chunks:
            file.write(name + struct.pack("<I", len(content)) + content)
            if len(content) % 2:
                file.write(b"\0")
        whole = file.tell() - 8
        file.seek(0)
        if file.read(4) == b"RF64":
            file.seek(20)  # behind "RF64", size, "WAVE", "ds64", size: the RIFF size in 64 bits
            file.write(struct.pack("<Q", whole))
        else:
            file.write(struct.pack("<I", min(whole, 0xFFFFFFFF)))


def info_chunk(tags: Mapping[str, str]) -> Chunk:
    """LIST INFO with those tags that it has codes for; UTF-8, as today's readers expect."""
    parts = [b"INFO"]
    for name, code in _INFO.items():
        if tags.get(name):
            text = tags[name].encode("utf-8") + b"\0"
            parts.append(code + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2))
    return b"LIST", b"".join(parts)


def chunks_for_copy(
    chunks: Sequence[Chunk], history: str, *, start: int, whole: bool
) -> list[Chunk]:
    """The chunks of an input as its processed copy should have them.

    Args:
        chunks: `SoundFacts.chunks`.
        history: a line for the coding history of a broadcast WAV.
        start: sample of the input at which the copy begins.
        whole: the copy has every sample of the input; without, its cue points would be wrong.
    """
    copied: list[Chunk] = []
    for name, content in chunks:
        if name == b"bext" and len(content) >= 602:
            copied.append((name, _broadcast(content, history, start)))
        elif whole or not (name in _TIMED or name == b"LIST"):
            copied.append((name, content))
    return copied


def _broadcast(content: bytes, history: str, start: int) -> bytes:
    """A bext chunk with its time moved, its loudness forgotten and its history gone on."""
    head = bytearray(content[:602])
    (time,) = struct.unpack_from("<Q", head, 338)
    struct.pack_into("<Q", head, 338, time + start)
    (version,) = struct.unpack_from("<H", head, 346)
    if version >= 2:  # 0x7FFF: not measured (EBU Tech 3285, 2.4)
        struct.pack_into("<5h", head, 412, *(0x7FFF,) * 5)
    past = content[602:].rstrip(b"\0\r\n ")
    line = history.encode("ascii", "replace") + b"\r\n"
    return bytes(head) + (past + b"\r\n" if past else b"") + line


def _info(content: bytes) -> dict[str, str]:
    tags: dict[str, str] = {}
    place = 0
    while place + 8 <= len(content):
        code, size = struct.unpack_from("<4sI", content, place)
        text = content[place + 8 : place + 8 + size].split(b"\0")[0]
        if code in _NAMES and text:
            tags[_NAMES[code]] = _text(text)
        place += 8 + size + size % 2
    return tags


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace").strip()


def _walk(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Ids and sizes of the chunks of a WAV; the file stands at the content of each.

    The last may be larger than what is left of the file.
    """
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return
    data_size = 0xFFFFFFFF
    place = 12
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        header = file.read(8)
        if len(header) < 8:
            return
        name, size = struct.unpack("<4sI", header)
        if name == b"ds64" and size >= 16:
            data_size = struct.unpack("<8xQ", file.read(16))[0]
            file.seek(place + 8)
        if name == b"data" and size == 0xFFFFFFFF:
            size = data_size
        yield name, size
        place += 8 + size + size % 2
