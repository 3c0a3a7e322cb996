"""Sizes that nothing could hold, in headers and in archives that swell."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from tests.hostile.case import MODEL, PICTURE, RAW, SOUND, Case, safetensors, zipped


def headers(folder: Path) -> Iterator[Case]:
    """Sizes in headers that nothing could hold."""
    folder.mkdir()
    huge, rows = 2**31 - 1, b"\0" * 64

    def png_chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    def png(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
        head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n"
            + png_chunk(b"IHDR", head)
            + png_chunk(b"IDAT", zlib.compress(rows))
            + png_chunk(b"IEND", b"")
        )

    def bmp(width: int, height: int) -> bytes:
        return (
            b"BM"
            + struct.pack("<IHHI", 118, 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
            + rows
        )

    def gif(width: int, height: int) -> bytes:
        return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b"," + rows

    def tiff(width: int, height: int, strips: int = 1, at: int = 8) -> bytes:
        tags = [
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 1, 8),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (273, 4, strips, 8),
            (277, 3, 1, 1),
            (278, 4, 1, height),
            (279, 4, strips, huge),
        ]
        entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        return b"II*\0" + struct.pack("<I", at) + struct.pack("<H", len(tags)) + entries + bytes(4)

    def wav(channels: int, rate: int, bits: int, size: int) -> bytes:
        form = struct.pack("<HHIIHH", 1, channels, rate, 0, 0, bits)
        return (
            b"RIFF"
            + struct.pack("<I", size)
            + b"WAVEfmt "
            + struct.pack("<I", 16)
            + form
            + b"data"
            + struct.pack("<I", size)
            + rows
        )

    found: dict[str, tuple[str, bytes]] = {
        "png-huge.png": (PICTURE, png(huge, huge)),
        "png-wide.png": (PICTURE, png(huge, 1)),
        "png-nothing.png": (PICTURE, png(0, 0)),
        "png-depth.png": (PICTURE, png(4, 4, 77)),
        "png-colour.png": (PICTURE, png(4, 4, 8, 99)),
        "png-100k.png": (PICTURE, png(100_000, 100_000)),
        "bmp-huge.bmp": (PICTURE, bmp(huge, huge)),
        "bmp-negative.bmp": (PICTURE, bmp(-9, -9)),
        "gif-huge.gif": (PICTURE, gif(65535, 65535)),
        "tiff-huge.tif": (PICTURE, tiff(huge, huge)),
        "tiff-strips.tif": (PICTURE, tiff(9, 9, huge)),
        "tiff-circle.tif": (PICTURE, tiff(9, 9, 1, 4)),
        "tiff-far.tif": (PICTURE, tiff(9, 9, 1, huge)),
        "raw-huge.dng": (RAW, tiff(huge, huge)),
        "raw-strips.dng": (RAW, tiff(99, 99, huge)),
        "raw-circle.dng": (RAW, tiff(9, 9, 1, 4)),
        "raw-text.nef": (RAW, b"this is no raw" * 99),
        "raw-zeros.cr2": (RAW, bytes(5000)),
        "raw-crw.crw": (RAW, b"II\x1a\0\0\0HEAPCCDR" + rows),
        "raw-raf.raf": (RAW, b"FUJIFILMCCD-RAW 0201" + b"\xff" * 400),
        "wav-channels.wav": (SOUND, wav(65535, 48_000, 16, 64)),
        "wav-rate.wav": (SOUND, wav(1, huge, 16, 64)),
        "wav-norate.wav": (SOUND, wav(1, 0, 16, 64)),
        "wav-nobits.wav": (SOUND, wav(1, 8000, 0, 64)),
        "wav-bits.wav": (SOUND, wav(1, 8000, 255, 64)),
        "wav-nochannels.wav": (SOUND, wav(0, 8000, 16, 64)),
        "wav-long.wav": (SOUND, wav(2, 48_000, 16, 0xFFFFFFFF)),
        "wav-empty.wav": (SOUND, wav(1, 8000, 16, 0)[:44]),
        "flac-huge.flac": (SOUND, b"fLaC\x80\0\0\x22" + b"\xff" * 34 + rows),
        "ogg-pages.ogg": (SOUND, b"OggS\0\2" + b"\xff" * 21 + b"\xff" * 300),
        "mp4-box.mp4": (
            SOUND,
            struct.pack(">I4s", 1, b"ftyp") + struct.pack(">Q", 2**63 - 1) + rows,
        ),
        "mp4-deep.mp4": (
            SOUND,
            b"".join(struct.pack(">I4s", 8 * (500 - n), b"moov") for n in range(499)),
        ),
    }
    for name, (engine, content) in found.items():
        (folder / name).write_bytes(content)
        yield Case(f"headers/{name}", engine, folder / name)


def bombs(folder: Path) -> Iterator[Case]:
    """Little that swells to much."""
    folder.mkdir()
    dense = zlib.compress(bytes(60 * 2**20), 9)

    def png_chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    small = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n"
    text = png_chunk(b"zTXt", b"Comment\0\0" + dense)
    files = {
        "pixels.png": start
        + png_chunk(b"IHDR", head)
        + png_chunk(b"IDAT", dense)
        + png_chunk(b"IEND", b""),
        "text.png": start + png_chunk(b"IHDR", small) + text * 3 + png_chunk(b"IEND", b""),
        "profile.png": start
        + png_chunk(b"IHDR", small)
        + png_chunk(b"iCCP", b"p\0\0" + dense)
        + png_chunk(b"IEND", b""),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
        yield Case(f"bombs/{name}", PICTURE, folder / name)
    bomb = folder / "model.zip"
    bomb.write_bytes(_swelling(1200))
    yield Case("bombs/model.zip", MODEL, bomb)
    many = folder / "many.zip"
    with zipfile.ZipFile(many, "w") as packed:
        packed.writestr("config.json", "{}")
        for number in range(20_500):
            packed.writestr(f"{number}", b"")
    yield Case("bombs/many.zip", MODEL, many)
    liar = folder / "liar.zip"  # the directory says little, and much is there
    content = bytearray(zipped({"config.json": b"{}", "model.safetensors": bytes(5 * 2**20)}))
    at = content.rindex(struct.pack("<I", 5 * 2**20))
    content[at : at + 4] = struct.pack("<I", 10)
    liar.write_bytes(content)
    yield Case("bombs/liar.zip", MODEL, liar)
    notes = folder / "deep.zip"  # JSON that is nested beyond any parser
    notes.write_bytes(zipped({"config.json": b"[" * 200_000, "model.safetensors": safetensors()}))
    yield Case("bombs/deep.zip", MODEL, notes)


def _swelling(megabytes: int) -> bytes:
    """A model's archive whose weights are so many MB of zeros, and truly are."""
    zeros = bytes(2**20)
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = pack.compress(zeros) + pack.flush(zlib.Z_FULL_FLUSH)
    again = pack.compress(zeros) + pack.flush(zlib.Z_FULL_FLUSH)  # refers to nothing before it
    packed = first + again * (megabytes - 1) + pack.flush()
    crc = 0
    for _ in range(megabytes):
        crc = zlib.crc32(zeros, crc)
    name = b"m/model.safetensors"
    sizes = struct.pack("<III", crc, len(packed), megabytes * 2**20)
    made = io.BytesIO(zipped({"m/config.json": b"{}"}))
    whole = made.getvalue()
    end = whole.rindex(b"PK\x05\x06")
    start = struct.unpack("<I", whole[end + 16 : end + 20])[0]
    local = b"PK\x03\x04" + struct.pack("<HHHHH", 20, 0, 8, 0, 33) + sizes
    local += struct.pack("<HH", len(name), 0) + name + packed
    entry = b"PK\x01\x02" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 33) + sizes
    entry += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, start) + name
    listed = whole[start:end] + entry
    tail = struct.pack("<HHHHIIH", 0, 0, 2, 2, len(listed), start + len(local), 0)
    return whole[:start] + local + listed + b"PK\x05\x06" + tail
