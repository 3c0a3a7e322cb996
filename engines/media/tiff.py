"""Writing 16-bit TIFF: deflated strips, sRGB profile, EXIF, GPS and provenance."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from engines.media.exif import ExifFacts, camera_entries, srgb_entries
from engines.media.ifd import Entry, append, append_ifd
from engines.media.provenance import to_xmp

_ROWS = 128
_STRIP_BYTES = 4 << 20  # about, for pictures so wide that fewer rows do
_LEVEL = 3  # of deflate; 6 takes three times as long for three hundredths of the size


@dataclass(frozen=True)
class Strips:
    """Where the strips of a picture were written: what its folder says of them."""

    rows: int
    places: Sequence[int]
    sizes: Sequence[int]

    def entries(self, kind: int = 4) -> list[Entry]:
        """Entries of the folder; places and sizes as numbers of TIFF type `kind`."""
        return [
            (259, 3, (8,)), (273, kind, self.places), (278, 4, (self.rows,)),
            (279, kind, self.sizes), (317, 3, (2,)),
        ]  # fmt: skip


def append_strips(
    file: BinaryIO,
    pixels: NDArray[Any],
    alpha: NDArray[Any] | None = None,
    *,
    order: Literal["<", ">"] = "<",
    check: Callable[[], None] | None = None,
) -> Strips:
    """Write a picture as deflated strips, each sample less its left neighbour's.

    Args:
        file: where to append.
        pixels: (height, width, n) uint8 or uint16; may be mapped from a file larger than memory.
        alpha: (height, width) of the same dtype, written as the last sample.
        order: byte order of the TIFF, "<" or ">".
        check: called before every strip.
    """
    height, width = pixels.shape[:2]
    samples = pixels.shape[2] + (alpha is not None)
    rows = min(max(_STRIP_BYTES // (width * samples * pixels.itemsize), 1), _ROWS)
    places: list[int] = []
    sizes: list[int] = []
    for top in range(0, height, rows):
        if check is not None:
            check()
        strip = np.empty((min(rows, height - top), width, samples), dtype=pixels.dtype)
        strip[:, :, : pixels.shape[2]] = pixels[top : top + rows]
        if alpha is not None:
            strip[:, :, -1] = alpha[top : top + rows]
        differences = strip.copy()
        differences[:, 1:] -= strip[:, :-1]
        data = _deflated(differences.astype(pixels.dtype.newbyteorder(order)))
        places.append(append(file, data))
        sizes.append(len(data))
    return Strips(rows, places, sizes)


def _deflated(differences: NDArray[Any]) -> bytes:
    """Differences of 16 bits hold no repeats but runs; searching for others takes three times."""
    strategy = zlib.Z_DEFAULT_STRATEGY if differences.itemsize == 1 else zlib.Z_RLE
    worker = zlib.compressobj(_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    return worker.compress(differences.data) + worker.flush()


def write_tiff(
    path: Path,
    rgb: NDArray[np.uint16],
    exif: ExifFacts,
    profile: bytes,
    provenance: Mapping[str, Any],
) -> None:
    """Write an upright picture.

    Args:
        path: file to write.
        rgb: (H, W, 3) uint16 in the colour space of `profile`.
        exif: of the source.
        profile: ICC profile.
        provenance: see `engines.media.provenance`.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    height, width = rgb.shape[:2]
    with path.open("wb") as file:
        file.write(b"II*\0\0\0\0\0")
        strips = append_strips(file, rgb)
        entries: list[Entry] = [
            (254, 4, (0,)), (256, 4, (width,)), (257, 4, (height,)), (258, 3, (16, 16, 16)),
            (262, 3, (2,)), (277, 3, (3,)), (282, 5, ((300, 1),)), (283, 5, ((300, 1),)),
            (284, 3, (1,)), (296, 3, (2,)), (339, 3, (1, 1, 1)), *strips.entries(),
            (700, 1, to_xmp(provenance).encode("utf-8")), (34675, 7, profile),
            (34665, 4, (append_ifd(file, srgb_entries(exif)),)),
            *camera_entries(exif, orientation=1),
        ]  # fmt: skip
        if exif.gps:
            entries.append((34853, 4, (append_ifd(file, exif.gps),)))
        start = append_ifd(file, entries)
        file.seek(4)
        file.write(struct.pack("<I", start))
