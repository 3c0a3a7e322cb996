"""Writing PNG row by row, from pictures larger than memory; Pillow and OpenCV want them whole.

Filters and chunks after PNG, third edition (W3C).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Chunk = tuple[bytes, bytes]

_BLOCK_BYTES = 128 << 10  # of rows that are filtered at once; more do not fit the caches
_CHUNK_BYTES = 1 << 20
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_SUB, _UP, _PAETH = 1, 2, 4


def write_png(
    file: BinaryIO,
    pixels: NDArray[Any],
    alpha: NDArray[Any] | None,
    chunks: Sequence[Chunk],
    check: Callable[[], None] | None = None,
) -> None:
    """Write a PNG.

    Args:
        file: where to write, from its place on.
        pixels: (height, width, 1 or 3) uint8 or uint16; may be mapped from a file.
        alpha: (height, width) of the same dtype, or None.
        chunks: (name, data) to stand before the pixels, in order.
        check: called before every block of rows.
    """
    height, width, channels = pixels.shape
    samples = channels + (alpha is not None)
    bits = 8 * pixels.itemsize
    file.write(b"\x89PNG\r\n\x1a\n")
    head = struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPES[samples], 0, 0, 0)
    for chunk in ((b"IHDR", head), *chunks):
        _write(file, *chunk)
    # Filtered photographs hold runs but no other repeats: searching for these takes three times as
    # long, and saves nothing.
    worker = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    step = samples * pixels.itemsize
    rows = max(_BLOCK_BYTES // (width * step), 1)
    above = np.zeros(width * step, np.uint8)
    waiting = bytearray()
    for top in range(0, height, rows):
        if check is not None:
            check()
        block = np.empty((min(rows, height - top), width, samples), pixels.dtype.newbyteorder(">"))
        block[:, :, :channels] = pixels[top : top + rows]
        if alpha is not None:
            block[:, :, -1] = alpha[top : top + rows]
        raw = block.view(np.uint8).reshape(len(block), width * step)
        waiting += worker.compress(_filtered(raw, above, step).data)
        above = raw[-1]
        if len(waiting) >= _CHUNK_BYTES:
            _write(file, b"IDAT", bytes(waiting))
            waiting.clear()
    waiting += worker.flush()
    _write(file, b"IDAT", bytes(waiting))
    _write(file, b"IEND", b"")


def text_chunk(keyword: str, text: str) -> Chunk:
    """A text as tEXt, or as iTXt where it needs more than Latin-1."""
    name = keyword.encode("latin-1", "replace")[:79]
    try:
        return b"tEXt", name + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        return b"iTXt", name + b"\0\0\0\0\0" + text.encode("utf-8")


def _write(file: BinaryIO, name: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + name)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(name))))


def _filtered(raw: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Rows with their filter's number in front: the filter with the smallest sum of magnitudes.

    Args:
        raw: (rows, bytes) of the picture.
        above: the row before the first.
        step: bytes of a pixel.
    """
    up = np.concatenate((above[None], raw[:-1]))
    left = np.zeros_like(raw)
    left[:, step:] = raw[:, :-step]
    corner = np.zeros_like(raw)
    corner[:, step:] = up[:, :-step]
    candidates = ((_SUB, left), (_UP, up), (_PAETH, _paeth(left, up, corner)))
    out = np.empty((raw.shape[0], raw.shape[1] + 1), np.uint8)
    least = np.full(raw.shape[0], np.iinfo(np.int64).max)
    for number, predicted in candidates:
        found = raw - predicted
        size = np.abs(found.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64)
        better = size < least
        out[better, 0] = number
        out[better, 1:] = found[better]
        least = np.minimum(size, least)
    return out


def _paeth(
    left: NDArray[np.uint8], up: NDArray[np.uint8], corner: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Of the three neighbours the one nearest to left + up - corner; the first on a tie."""
    across = up.astype(np.int16) - corner
    down = left.astype(np.int16) - corner
    far = np.abs(across + down)
    across, down = np.abs(across), np.abs(down)
    other = np.where(down <= far, up, corner)
    return np.where((across <= down) & (across <= far), left, other)
