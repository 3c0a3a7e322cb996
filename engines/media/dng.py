"""Writing DNG: a denoised mosaic (or linear RGB) that any RAW converter develops like the original.

Layout: the first folder holds camera, colour and a small thumbnail; its two sub-folders hold the
picture, uncompressed, and a JPEG preview drawn from the result, so that a file browser does not
show the noisy one. Written by hand rather than through a TIFF library because none nests an EXIF
folder; `engines.media.ifd` is all that it takes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines.media.develop import demosaic, needs_demosaicing, reduced
from engines.media.dng_source import CFA, LINEAR_RAW, DngSource, read_dng_source
from engines.media.exif import camera_entries, standard_entries
from engines.media.ifd import Entry, append, append_ifd, ascii_entry
from engines.media.provenance import to_xmp
from engines.media.raw_facts import RawFacts

_THUMBNAIL = 256
_COLOURS = "RGBCMYW"  # as CFAPlaneColor numbers them


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
    """Write a DNG of the same kind as the input, with its own colour filter, levels, colours,
    orientation, EXIF and lens.

    Args:
        path: file to write.
        mosaic: (H, W) uint16, the whole visible area, levels times `extras.gain`; (H, W, 3) of a
            demosaiced input.
        facts: of the source.
        source: the input; if it is a DNG, its colour tags are copied.
        extras: see there.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    black = [Fraction(level * extras.gain).limit_denominator(10_000) for level in facts.black]
    white = round(facts.white * extras.gain)
    if facts.channels == 3:
        picture = _linear(3, black, white)
    else:
        side = isqrt(len(black))
        if len(set(black)) == 1 and side != 2:
            side, black = 1, black[:1]
        picture: list[Entry] = [
            (258, 3, (16,)),
            (262, 3, (CFA if facts.cfa else LINEAR_RAW,)),
            (277, 3, (1,)),
            (50713, 3, (side, side)),
            (50714, 5, black),
            (50717, 4, (white,)),
        ]
    if facts.cfa:
        cell = isqrt(len(facts.cfa))
        picture += [
            (33421, 3, (cell, cell)),
            (33422, 1, bytes(_COLOURS.index(colour) for colour in _plain(facts.cfa))),
            (50710, 1, bytes(_COLOURS.index(colour) for colour in _plain(facts.colours))),
            (50711, 3, (1,)),
        ]
    _write(path, mosaic, picture, facts, source, extras)


def write_developable(
    path: Path, mosaic: NDArray[np.uint16], facts: RawFacts, source: Path, extras: DngExtras
) -> None:
    """`write_dng`, or where LibRaw cannot develop such a mosaic, its colours interpolated here."""
    if needs_demosaicing(facts):
        write_linear_dng(path, demosaic(mosaic, facts, extras.gain), facts, source, extras)
    else:
        write_dng(path, mosaic, facts, source, extras)


def write_linear_dng(
    path: Path,
    rgb: NDArray[np.uint16],
    facts: RawFacts,
    source: Path,
    extras: DngExtras,
) -> None:
    """Write a demosaiced DNG: (H, W, 3) uint16 camera RGB, not white-balanced, black at 0 and white
    at 65535; otherwise as `write_dng`.
    """
    picture = _linear(3, [Fraction(0)] * 3, 65535)
    _write(path, rgb, picture, facts, source, extras)


def _linear(channels: int, black: Sequence[Fraction], white: int) -> list[Entry]:
    return [
        (258, 3, (16,) * channels),
        (262, 3, (LINEAR_RAW,)),
        (277, 3, (channels,)),
        (284, 3, (1,)),
        (50713, 3, (1, 1)),
        (50714, 5, black),
        (50717, 4, (white,) * channels),
    ]


def _plain(colours: str) -> str:
    """Colours as DNG numbers them, which has no emerald: it is called cyan there."""
    return colours.replace("E", "C")


def _write(
    path: Path,
    pixels: NDArray[np.uint16],
    picture: list[Entry],
    facts: RawFacts,
    source: Path,
    extras: DngExtras,
) -> None:
    dng = read_dng_source(source)
    height, width = pixels.shape[:2]
    opcodes = (
        dng.opcodes(*facts.margins, height, width, demosaiced=pixels.ndim > 2 > facts.channels)
        if dng is not None
        else []
    )
    thumbnail = reduced(extras.preview, _THUMBNAIL)
    preview = _jpeg(extras.preview)
    with path.open("wb") as file:
        file.write(b"II*\0\0\0\0\0")
        picture_at = file.tell()
        np.ascontiguousarray(pixels, dtype="<u2").tofile(file)
        thumbnail_at = append(file, thumbnail.tobytes())
        preview_at = append(file, preview)
        picture_ifd = append_ifd(
            file,
            [
                *picture,
                *opcodes,
                *_geometry(facts),
                *_noise(extras),
                (254, 4, (0,)), (256, 4, (width,)), (257, 4, (height,)), (259, 3, (1,)),
                (273, 4, (picture_at,)), (278, 4, (height,)), (279, 4, (pixels.nbytes,)),
                (50829, 4, (0, 0, height, width)),
            ],
        )  # fmt: skip
        preview_height, preview_width = extras.preview.shape[:2]
        preview_ifd = append_ifd(
            file,
            [
                (254, 4, (1,)), (256, 4, (preview_width,)), (257, 4, (preview_height,)),
                (258, 3, (8, 8, 8)), (259, 3, (7,)), (262, 3, (6,)), (273, 4, (preview_at,)),
                (277, 3, (3,)), (278, 4, (preview_height,)), (279, 4, (len(preview),)),
                (284, 3, (1,)), (530, 3, (1, 1)), (50970, 4, (2,)),
            ],
        )  # fmt: skip
        first: list[Entry] = [
            (254, 4, (1,)), (256, 4, (thumbnail.shape[1],)), (257, 4, (thumbnail.shape[0],)),
            (258, 3, (8, 8, 8)), (259, 3, (1,)), (262, 3, (2,)), (273, 4, (thumbnail_at,)),
            (277, 3, (3,)), (278, 4, (thumbnail.shape[0],)), (279, 4, (thumbnail.nbytes,)),
            (284, 3, (1,)), (330, 4, (picture_ifd, preview_ifd)),
            (700, 1, to_xmp(extras.provenance).encode("utf-8")),
            (34665, 4, (append_ifd(file, standard_entries(facts.exif)),)),
            *camera_entries(facts.exif, facts.orientation),
            (50706, 1, bytes((1, 4, 0, 0))),
            (50707, 1, bytes((1, 3 if opcodes else 1, 0, 0))),
            *_camera(facts, dng),
        ]  # fmt: skip
        if facts.exif.gps:
            first.append((34853, 4, (append_ifd(file, facts.exif.gps),)))
        start = append_ifd(file, first)
        file.seek(4)
        file.write(struct.pack("<I", start))


def _camera(facts: RawFacts, dng: DngSource | None) -> list[Entry]:
    """Camera and colours: what a DNG source said, and what LibRaw knows where it said nothing."""
    copied = {entry[0]: entry for entry in dng.camera_entries()} if dng is not None else {}
    if 50708 not in copied:
        copied[50708] = ascii_entry(50708, facts.unique_camera)
    if facts.kind == "mono":
        return list(copied.values())
    neutral = [Fraction(value).limit_denominator(1_000_000) for value in facts.neutral]
    copied[50728] = (50728, 5, neutral)
    if 50721 not in copied and 50722 not in copied:
        matrix = [(round(value * 10_000), 10_000) for row in facts.colour_matrix for value in row]
        copied[50721] = (50721, 10, matrix)
        copied[50778] = (50778, 3, (facts.illuminant,))
    return list(copied.values())


def _geometry(facts: RawFacts) -> list[Entry]:
    found: list[Entry] = []
    if facts.pixel_aspect != 1.0:
        aspect = Fraction(facts.pixel_aspect).limit_denominator(10_000)
        found.append((50718, 5, (aspect, Fraction(1))))
    if facts.crop is not None:
        left, top, width, height = facts.crop
        found += [(50719, 4, (left, top)), (50720, 4, (width, height))]
    return found


def _noise(extras: DngExtras) -> list[Entry]:
    applied = Fraction(extras.noise_reduction).limit_denominator(1000)
    found: list[Entry] = [(50935, 5, (applied,))]
    if extras.noise_profile:
        found.append((51041, 12, tuple(extras.noise_profile)))
    return found


def _jpeg(preview: NDArray[np.uint8]) -> bytes:
    held = BytesIO()
    Image.fromarray(preview).save(held, "JPEG", quality=90, subsampling=0)
    return held.getvalue()
