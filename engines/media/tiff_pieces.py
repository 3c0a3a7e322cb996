"""The strips and tiles of a TIFF or BigTIFF, decoded at any depth with any number of samples.

TIFF 6.0 and Adobe's supplements. Pieces are unpacked by zlib or, as rows of bytes, by Pillow's
libtiff; Pillow itself would cut 16 bits to 8, and OpenCV knows four samples at most.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from engines.media.ifd import Entry, Folder, pack_ifd
from engines.media.picture_facts import damaged, ends_early
from engines.media.picture_pillow import opened

_NONE, _LZW, _PACKBITS, _LZMA, _ZSTD = 1, 5, 32773, 34925, 50000
_DEFLATE = (8, 32946)
COMPRESSIONS = (_NONE, _LZW, _PACKBITS, _LZMA, _ZSTD, *_DEFLATE)
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3
_SEPARATE = 2
_MOST_BYTES = 1 << 30  # of a strip or tile


@dataclass(frozen=True)
class TiffLayout:
    """What must be known to decode a page.

    Attributes:
        folder: the page's entries.
        order: byte order of the file, "<" or ">".
        width: in pixels, as stored.
        height: likewise.
        samples: of a pixel.
        dtype: of a sample, native byte order; bool where it has one bit.
    """

    folder: Folder
    order: Literal["<", ">"]
    width: int
    height: int
    samples: int
    dtype: np.dtype

    @property
    def bits(self) -> int:
        """Of a sample."""
        return 1 if self.dtype == np.bool_ else 8 * self.dtype.itemsize


def read_samples(file: BinaryIO, layout: TiffLayout, name: str) -> NDArray[Any]:
    """Decode a page.

    Args:
        file: the open TIFF.
        layout: of the page; its compression is one of `COMPRESSIONS`.
        name: of the file, for sentences.

    Returns:
        (height, width, samples) of `layout.dtype`; pieces that a sparse file left out are 0.

    Raises:
        UserError: the file ends early or is damaged.
    """
    out = np.zeros((layout.height, layout.width, layout.samples), dtype=layout.dtype)
    compression = layout.folder.number(259, _NONE)
    file.seek(0, 2)
    end = file.tell()
    for piece in _pieces(layout, name):
        if not piece.size:
            continue
        if piece.start + piece.size > end:
            raise ends_early(name)
        file.seek(piece.start)
        data = _unpacked(file.read(piece.size), compression, piece)
        if len(data) < piece.rows * piece.row_bytes:
            raise damaged(name)
        block = _samples(data, layout, piece)
        target = out[piece.top : piece.top + piece.rows, piece.left : piece.left + piece.columns]
        target[:, :, piece.sample : piece.sample + piece.samples] = block[
            : target.shape[0], : target.shape[1]
        ]
    return out


@dataclass(frozen=True)
class _Piece:
    """A strip or tile: where it lies in the file and in the picture."""

    start: int
    size: int
    top: int
    left: int
    rows: int
    columns: int
    sample: int
    samples: int
    row_bytes: int


def _pieces(layout: TiffLayout, name: str) -> Iterator[_Piece]:
    folder = layout.folder
    tiled = 322 in folder.entries
    if tiled:
        columns, rows = folder.number(322), folder.number(323)
        starts, sizes = folder.numbers(324), folder.numbers(325)
    else:
        columns = layout.width
        rows = min(folder.number(278, layout.height), layout.height)
        starts, sizes = folder.numbers(273), folder.numbers(279)
    separate = folder.number(284, 1) == _SEPARATE
    samples = 1 if separate else layout.samples
    if columns < 1 or rows < 1:
        raise damaged(name)
    row_bytes = (columns * samples * layout.bits + 7) // 8
    if rows * row_bytes > _MOST_BYTES:
        raise damaged(name)
    places = [
        (top, left, sample)
        for sample in range(layout.samples if separate else 1)
        for top in range(0, layout.height, rows)
        for left in range(0, layout.width, columns)
    ]
    if not sizes and folder.number(259, _NONE) == _NONE:
        sizes = (float(rows * row_bytes),) * len(starts)
    if len(starts) < len(places) or len(sizes) < len(places):
        raise damaged(name)
    for (top, left, sample), start, size in zip(places, starts, sizes, strict=False):
        there = rows if tiled else min(rows, layout.height - top)
        most = there * row_bytes if folder.number(259, _NONE) == _NONE else size
        taken = int(min(size, most))
        yield _Piece(int(start), taken, top, left, there, columns, sample, samples, row_bytes)


def _unpacked(data: bytes, compression: int, piece: _Piece) -> bytes:
    if compression == _NONE:
        return data
    if compression in _DEFLATE:
        # A last checksum that is missing does no harm: what counts is whether all rows are there.
        return zlib.decompressobj().decompress(data, piece.rows * piece.row_bytes)
    return _by_libtiff(data, compression, piece)


def _by_libtiff(data: bytes, compression: int, piece: _Piece) -> bytes:
    """Unpack a piece as if it were a grey picture of its own, one byte a pixel."""
    entries: list[Entry] = [
        (256, 4, (piece.row_bytes,)), (257, 4, (piece.rows,)), (258, 3, (8,)),
        (259, 3, (compression,)), (262, 3, (1,)), (273, 4, (8,)), (277, 3, (1,)),
        (278, 4, (piece.rows,)), (279, 4, (len(data),)),
    ]  # fmt: skip
    place = 8 + len(data) + len(data) % 2
    head = b"II*\0" + struct.pack("<I", place)
    whole = (head + data).ljust(place, b"\0") + pack_ifd(entries, place)
    with opened(BytesIO(whole), ("TIFF",)) as image:
        return image.tobytes()


def _samples(data: bytes, layout: TiffLayout, piece: _Piece) -> NDArray[Any]:
    """(rows, columns, samples of the piece) of the layout's dtype, prediction undone."""
    rows, columns, samples = piece.rows, piece.columns, piece.samples
    flat = np.frombuffer(data, np.uint8, rows * piece.row_bytes).reshape(rows, piece.row_bytes)
    if layout.dtype == np.bool_:
        bits = np.unpackbits(flat, axis=1, count=columns * samples)
        return bits.reshape(rows, columns, samples).astype(np.bool_)
    predictor = layout.folder.number(317, 1)
    if predictor == _FLOAT_DIFFERENCES:
        # Bytes were sorted by significance, highest first, then differenced (Adobe TN3).
        summed = np.cumsum(flat.reshape(rows, -1, samples), axis=1, dtype=np.uint8)
        planes = summed.reshape(rows, layout.dtype.itemsize, columns * samples)
        joined = np.ascontiguousarray(planes.swapaxes(1, 2))
        found = joined.view(layout.dtype.newbyteorder(">"))
    else:
        found = flat.view(layout.dtype.newbyteorder(layout.order))
    found = found.reshape(rows, columns, samples).astype(layout.dtype, copy=False)
    if predictor == _DIFFERENCES and layout.dtype.kind in "ui":
        return np.cumsum(found, axis=1, dtype=layout.dtype)
    return found
