"""Writing DNG: a denoised mosaic (or linear RGB) that any RAW converter develops like the original.

Layout: the first folder holds camera, colour and a small thumbnail; its two sub-folders hold the
picture, uncompressed, and a JPEG preview drawn from the result, so that a file browser does not
show the noisy one. Written by hand rather than through a TIFF library because none nests an EXIF
folder; `engines.media.exif.pack_ifd` is all that it takes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from engines.media.exif import Entry, camera_entries, pack_ifd, standard_entries
from engines.media.provenance import to_xmp
from engines.media.raw_file import RawFacts

# What a DNG source says of colour, lens correction and defaults, copied as it is. Profiles that
# were embedded stay embedded; opcodes are right because the geometry is the source's.
_CAMERA_TAGS = (
    50721, 50722, 50723, 50724, 50725, 50726, 50727, 50730, 50731, 50732, 50734, 50735, 50736,
    50778, 50779, 50931, 50932, 50936, 50937, 50938, 50939, 50940, 50941, 50942, 50964, 50965,
    50981, 50982, 51107, 51108, 51109, 51110, 51112,
)  # fmt: skip
_PICTURE_TAGS = (50718, 50719, 50720, 51008, 51009, 51022)
_THUMBNAIL = 256


@dataclass(frozen=True)
class DngExtras:
    """What goes into a DNG beside the picture.

    Attributes:
        provenance: see `engines.media.provenance`.
        preview: (h, w, 3) uint8 sRGB of the result as stored (not rotated), any size.
        noise_reduction: share of the noise that was removed, 0 to 1 (NoiseReductionApplied).
        noise_profile: (S, O) of what noise is left, var = S·x + O with x in [0, 1]; or ().
        gain: factor that black and white levels are written with; the picture has it already.
    """

    provenance: Mapping[str, Any]
    preview: NDArray[np.uint8]
    noise_reduction: float
    noise_profile: Sequence[float]
    gain: int = 1


def precision_gain(white: float) -> int:
    """Largest power of two, at most 16, that keeps white within 16 bits: clean shadows need finer
    steps than the camera's own.
    """
    gain = 1
    while gain < 16 and white * gain * 2 <= 65535:
        gain *= 2
    return gain


def write_dng(
    path: Path, mosaic: NDArray[np.uint16], facts: RawFacts, source: Path, extras: DngExtras
) -> None:
    """Write a mosaic DNG with the input's own CFA, levels, colours, orientation, EXIF and lens.

    Args:
        path: file to write.
        mosaic: (H, W) uint16, the whole visible area, levels times `extras.gain`.
        facts: of the source.
        source: the input; if it is a DNG, its colour tags are copied.
        extras: see there.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    black = [(Fraction(level * extras.gain).limit_denominator(10_000)) for level in facts.black]
    picture: list[Entry] = [
        (258, 3, (16,)),
        (262, 3, (32803,)),
        (277, 3, (1,)),
        (33421, 3, (2, 2)),
        (33422, 1, tuple("RGB".index(colour) for colour in facts.cfa)),
        (50710, 1, (0, 1, 2)),
        (50711, 3, (1,)),
        (50713, 3, (2, 2)),
        (50714, 5, tuple(black)),
        (50717, 4, (round(facts.white * extras.gain),)),
    ]
    _write(path, mosaic, picture, facts, source, extras)


def write_linear_dng(
    path: Path, rgb: NDArray[np.uint16], facts: RawFacts, source: Path, extras: DngExtras
) -> None:
    """Write a demosaiced DNG: (H, W, 3) uint16 camera RGB, not white-balanced, black at 0 and white
    at 65535; otherwise as `write_dng`.
    """
    picture: list[Entry] = [
        (258, 3, (16, 16, 16)),
        (262, 3, (34892,)),
        (277, 3, (3,)),
        (284, 3, (1,)),
        (50713, 3, (1, 1)),
        (50714, 3, (0, 0, 0)),
        (50717, 4, (65535, 65535, 65535)),
    ]
    _write(path, rgb, picture, facts, source, extras)


def _write(
    path: Path,
    pixels: NDArray[np.uint16],
    picture: list[Entry],
    facts: RawFacts,
    source: Path,
    extras: DngExtras,
) -> None:
    camera_tags, picture_tags = _source_tags(source)
    height, width = pixels.shape[:2]
    thumbnail = _thumbnail(extras.preview)
    preview = _jpeg(extras.preview)
    with path.open("wb") as file:
        file.write(b"II*\0\0\0\0\0")
        picture_at = file.tell()
        np.ascontiguousarray(pixels, dtype="<u2").tofile(file)
        thumbnail_at = _append(file, thumbnail.tobytes())
        preview_at = _append(file, preview)
        picture += [
            (254, 4, (0,)),
            (256, 4, (width,)),
            (257, 4, (height,)),
            (259, 3, (1,)),
            (273, 4, (picture_at,)),
            (278, 4, (height,)),
            (279, 4, (pixels.nbytes,)),
            (50829, 4, (0, 0, height, width)),
            (50935, 5, (Fraction(extras.noise_reduction).limit_denominator(1000),)),
        ]
        if extras.noise_profile:
            picture.append((51041, 12, tuple(extras.noise_profile)))
        picture_ifd = _append_ifd(file, _with(picture, picture_tags, _geometry(facts)))
        side = Image.open(BytesIO(preview)).size
        preview_ifd = _append_ifd(
            file,
            [
                (254, 4, (1,)), (256, 4, (side[0],)), (257, 4, (side[1],)), (258, 3, (8, 8, 8)),
                (259, 3, (7,)), (262, 3, (6,)), (273, 4, (preview_at,)), (277, 3, (3,)),
                (278, 4, (side[1],)), (279, 4, (len(preview),)), (284, 3, (1,)),
                (530, 3, (1, 1)), (50970, 4, (2,)),
            ],
        )  # fmt: skip
        opcodes = any(entry[0] in (51008, 51009, 51022) for entry in picture_tags)
        neutral = tuple(Fraction(value).limit_denominator(1_000_000) for value in facts.neutral)
        first = [
            (254, 4, (1,)), (256, 4, (thumbnail.shape[1],)), (257, 4, (thumbnail.shape[0],)),
            (258, 3, (8, 8, 8)), (259, 3, (1,)), (262, 3, (2,)), (273, 4, (thumbnail_at,)),
            (277, 3, (3,)), (278, 4, (thumbnail.shape[0],)), (279, 4, (thumbnail.nbytes,)),
            (284, 3, (1,)), (330, 4, (picture_ifd, preview_ifd)),
            (700, 1, tuple(to_xmp(extras.provenance).encode("utf-8"))),
            (34665, 4, (_append_ifd(file, standard_entries(facts.exif)),)),
            *camera_entries(facts.exif, facts.orientation),
            (50706, 1, (1, 4, 0, 0)),
            (50707, 1, (1, 3 if opcodes else 1, 0, 0)),
            (50708, 2, (*(facts.camera or "Unknown camera").encode("utf-8"), 0)),
            (50728, 5, neutral),
        ]  # fmt: skip
        if facts.exif.gps:
            first.append((34853, 4, (_append_ifd(file, facts.exif.gps),)))
        start = _append_ifd(file, _with(first, camera_tags, _colours(facts)))
        file.seek(4)
        file.write(struct.pack("<I", start))


def _with(ours: Sequence[Entry], copied: Sequence[Entry], fallback: Sequence[Entry]) -> list[Entry]:
    """Ours, then what the source said, then what LibRaw knows where the source said nothing."""
    found = {entry[0]: entry for entry in fallback}
    if any(entry[0] in (50721, 50722) for entry in copied):
        found.pop(50721, None)
        found.pop(50778, None)
    found |= {entry[0]: entry for entry in copied}
    return list((found | {entry[0]: entry for entry in ours}).values())


def _append(file: BinaryIO, data: bytes) -> int:
    file.seek(0, 2)
    if file.tell() % 2:
        file.write(b"\0")
    place = file.tell()
    file.write(data)
    return place


def _append_ifd(file: BinaryIO, entries: Sequence[Entry]) -> int:
    file.seek(0, 2)
    if file.tell() % 2:
        file.write(b"\0")
    place = file.tell()
    file.write(pack_ifd(entries, place))
    return place


def _geometry(facts: RawFacts) -> list[Entry]:
    found: list[Entry] = []
    if facts.pixel_aspect != 1.0:
        aspect = Fraction(facts.pixel_aspect).limit_denominator(10_000)
        found.append((50718, 5, (aspect, Fraction(1))))
    if facts.crop is not None:
        left, top, width, height = facts.crop
        found.append((50719, 4, (left, top)))
        found.append((50720, 4, (width, height)))
    return found


def _colours(facts: RawFacts) -> list[Entry]:
    if facts.colour_matrix is None:
        return []
    flat = [value for row in facts.colour_matrix for value in row]
    matrix = tuple((round(value * 10_000), 10_000) for value in flat)
    return [(50721, 10, matrix), (50778, 3, (facts.illuminant or 21,))]


def _source_tags(source: Path) -> tuple[list[Entry], list[Entry]]:
    """Entries to copy from a DNG source, for the first folder and for the picture's."""
    try:
        with tifffile.TiffFile(source) as tiff:
            first = tiff.pages[0]
            if not isinstance(first, tifffile.TiffPage) or 50706 not in first.tags:
                return [], []
            pages = [first, *(getattr(first, "pages", None) or [])]
            picture = next((p for p in pages if p.photometric in (32803, 34892)), first)
            return _copied(first, _CAMERA_TAGS), _copied(picture, _PICTURE_TAGS)
    except Exception:
        # Not a TIFF: every other maker's RAW. LibRaw's own facts are used then.
        return [], []


def _copied(page: Any, wanted: Sequence[int]) -> list[Entry]:
    found: list[Entry] = []
    for tag in page.tags.values():
        if tag.code not in wanted:
            continue
        kind, value = int(tag.dtype), tag.value
        if isinstance(value, str):
            value = (*value.encode("utf-8"), 0)
        values = tuple(value) if isinstance(value, tuple | list | bytes | np.ndarray) else (value,)
        if kind in (5, 10):
            values = tuple(zip(values[::2], values[1::2], strict=True))
        if kind <= 12:
            found.append((tag.code, kind, values))
    return found


def _thumbnail(preview: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = Image.fromarray(preview)
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(picture)


def _jpeg(preview: NDArray[np.uint8]) -> bytes:
    held = BytesIO()
    Image.fromarray(preview).save(held, "JPEG", quality=90, subsampling=0)
    return held.getvalue()
