"""Writing TIFF, and BigTIFF beyond 4 GB, of any number of bands with all that is kept."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from typing import BinaryIO, Literal

from engines.media.ifd import Entry, append_ifd
from engines.media.picture_exif import FIRST_TAGS, ExifBlock, movable
from engines.media.picture_facts import PictureFacts, Pixels
from engines.media.tiff import append_strips

CLASSIC_LIMIT = 0xFFFFFFFF - (64 << 20)  # bytes of samples from which on it becomes a BigTIFF
_LONG, _LONG8 = 4, 16
_RGB, _BLACK_IS_ZERO = 2, 1
_UNASSOCIATED = 2


def write_tiff_picture(
    file: BinaryIO,
    pixels: Pixels,
    alpha: Pixels | None,
    facts: PictureFacts,
    xmp: bytes,
    check: Callable[[], None] | None = None,
) -> None:
    """Write a TIFF.

    An EXIF block stands at its beginning, as it is: its pointers, and those of the maker's note,
    count from the beginning of a TIFF and so stay true. A BigTIFF's are of another kind; there
    the entries are written anew, without that note.

    Args:
        file: empty, open for reading and writing.
        pixels: (height, width, n) uint8 or uint16; may be mapped from a file.
        alpha: (height, width) of the same dtype, or None; not multiplied into the colour.
        facts: of this picture.
        xmp: packet.
        check: called at every strip.
    """
    height, width, channels = pixels.shape
    samples = channels + (alpha is not None)
    big = pixels.itemsize * samples * width * height > CLASSIC_LIMIT
    block = None if facts.exif is None else ExifBlock(facts.exif)
    order: Literal["<", ">"] = "<" if block is None or big else block.order
    file.write(_head(block, order, big))
    strips = append_strips(file, pixels, alpha, order=order, check=check)
    colours = 3 if facts.rgb and channels >= 3 else 1
    extras = [0] * (channels - colours) + [_UNASSOCIATED] * (alpha is not None)
    entries: list[Entry] = [
        (254, _LONG, (0,)), (256, _LONG, (width,)), (257, _LONG, (height,)),
        (258, 3, (8 * pixels.itemsize,) * samples),
        (262, 3, (_RGB if colours == 3 else _BLACK_IS_ZERO,)),
        (274, 3, (1,)), (277, 3, (samples,)), (284, 3, (1,)), (339, 3, (1,) * samples),
        (700, 1, xmp), *strips.entries(_LONG8 if big else _LONG),
    ]  # fmt: skip
    if extras:
        entries.append((338, 3, extras))
    if facts.icc is not None:
        entries.append((34675, 7, facts.icc))
    if facts.iptc is not None:
        entries.append((33723, 7, facts.iptc))
    if facts.dpi is not None:
        across, down = (Fraction(value).limit_denominator(1000) for value in facts.dpi)
        entries += [(282, 5, (across,)), (283, 5, (down,)), (296, 3, (2,))]
    if facts.geo is not None:
        entries += facts.geo.entries
    if block is not None:
        entries += [entry for code, entry in block.first.entries.items() if code in FIRST_TAGS]
        for code, folder in ((34665, block.exif), (34853, block.gps)):
            if folder is None:
                continue
            place = folder.offset
            if big:
                place = append_ifd(file, movable(tuple(folder.entries.values())), big=True)
            entries.append((code, _LONG, (place,)))
    start = append_ifd(file, entries, order=order, big=big)
    file.seek(8 if big else 4)
    file.write(struct.pack("<Q" if big else order + "I", start))


def _head(block: ExifBlock | None, order: Literal["<", ">"], big: bool) -> bytes:
    """The first bytes; the place of the first folder is filled in at the end."""
    if big:
        return b"II+\0" + struct.pack("<HHQ", 8, 0, 0)
    if block is not None:
        return block.data
    return (b"II*\0" if order == "<" else b"MM\0*") + bytes(4)
