"""Pictures that common libraries do not write: every kind of PNG, EXIF blocks, a CMYK profile."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.media.ifd import Entry, append, pack_ifd

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
MAKER_NOTE = b"Acme\0note that points \x00\x00\x01\x23 into its file"
THUMBNAIL = b"\xff\xd8" + b"thumbnail" * 40 + b"\xff\xd9"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(pixels: NDArray[Any], *chunks: bytes) -> bytes:
    """(height, width, 1 to 4) uint8 or uint16 without filters, `chunks` before the pixels."""
    height, width, samples = pixels.shape
    bits = 8 * pixels.itemsize
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    data = zlib.compress(np.insert(rows, 0, 0, axis=1).tobytes())
    head = struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPES[samples], 0, 0, 0)
    parts = (chunk(b"IHDR", head), *chunks, chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def exif_block(order: str, orientation: int, width: int, height: int) -> bytes:
    """A camera's EXIF: orientation, sizes, a maker's note in the middle and a thumbnail."""
    file = BytesIO()
    file.write((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8))
    first: list[Entry] = [
        (271, 2, b"Acme\0"), (272, 2, b"Acme One\0"), (274, 3, (orientation,)),
        (34665, 4, (0,)), (34853, 4, (0,)),
    ]  # fmt: skip
    size = len(pack_ifd(first, 8, order=order))
    file.write(bytes(size))
    exif: list[Entry] = [
        (33434, 5, ((1, 250),)), (37500, 7, MAKER_NOTE), (40962, 3, (width,)),
        (40963, 3, (height,)), (42036, 2, b"Acme 50mm\0"),
    ]  # fmt: skip
    inner = append(file, b"")
    file.write(pack_ifd(exif, inner, order=order))
    place = append(file, b"")
    file.write(pack_ifd([(1, 2, b"N\0"), (2, 5, ((47, 1), (30, 1), (0, 1)))], place, order=order))
    second = append(file, b"")
    small: list[Entry] = [(513, 4, (0,)), (514, 4, (len(THUMBNAIL),))]
    start = second + len(pack_ifd(small, second, order=order))
    small[0] = (513, 4, (start,))
    file.write(pack_ifd(small, second, order=order) + THUMBNAIL)
    first[3:] = [(34665, 4, (inner,)), (34853, 4, (place,))]
    packed = bytearray(pack_ifd(first, 8, order=order))
    at = 2 + 12 * len(first)
    packed[at : at + 4] = struct.pack(order + "I", second)
    file.seek(8)
    file.write(packed)
    return file.getvalue()


def cmyk_profile(inks: Sequence[tuple[float, float, float]]) -> bytes:
    """An ICC profile (version 2, lut8) whose corners mix by multiplying; Lab of C, M and Y."""
    table = bytearray()
    for corner in range(16):
        lightness, a, b = 100.0, 0.0, 0.0
        for bit, ink in zip((8, 4, 2), inks, strict=True):
            if corner & bit:
                lightness, a, b = lightness * ink[0] / 100, a + ink[1], b + ink[2]
        if corner & 1:
            lightness, a, b = 0.0, 0.0, 0.0
        table += bytes((round(lightness * 2.55), round(a + 128), round(b + 128)))
    identity = struct.pack(">9i", *(65536 * (at % 4 == 0) for at in range(9)))
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + ramp * 4 + bytes(table) + ramp * 3
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"Inks\0" + bytes(78)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"desc": text, b"wtpt": white, b"A2B0": lut}
    body, table_of_tags = b"", struct.pack(">I", len(tags))
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table_of_tags += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = bytearray(128)
    head[0:4] = struct.pack(">I", start + len(body))
    head[8:12], head[12:16], head[16:20], head[20:24] = b"\x02\x40\0\0", b"prtr", b"CMYK", b"Lab "
    head[36:40] = b"acsp"
    head[68:80] = struct.pack(">3i", 63190, 65536, 54061)
    return bytes(head) + table_of_tags + body
