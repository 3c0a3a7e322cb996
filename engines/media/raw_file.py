"""Camera RAW files: the mosaic exactly as the sensor gave it, and the facts about it.

LibRaw (rawpy) unpacks; nothing is subtracted, scaled, interpolated or rotated here. Whatever
LibRaw cannot read, or what is no Bayer mosaic, is refused with one sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.dng_source import DngSource
from engines.media.exif import ExifFacts, read_exif
from engines.media.raw_colour import Matrix, colours, site_colours
from engines.media.raw_open import not_supported, open_raw

RAW_SUFFIXES: tuple[str, ...] = tuple(
    ".3fr .arw .bay .cap .cr2 .cr3 .crw .dcr .dcs .dng .drf .eip .erf .fff .gpr .iiq .k25 .kdc "
    ".mdc .mef .mos .mrw .nef .nrw .orf .pef .ptx .pxn .r3d .raf .raw .rw2 .rwl .rwz .sr2 .srf "
    ".srw .x3f".split()
)

_BAYER = ("RGGB", "GRBG", "GBRG", "BGGR")
# LibRaw's flip -> TIFF's orientation; the mirrored ones come from a few phones' DNG only.
_ORIENTATION = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}


@dataclass(frozen=True)
class RawFacts:
    """What a RAW file says of itself.

    Attributes:
        make, model, lens: as the camera wrote them, "" where unknown.
        iso, exposure_s, f_number, focal_mm: None where unknown.
        datetime: "YYYY:MM:DD HH:MM:SS", "" where unknown.
        width, height: visible area as stored, not rotated.
        cfa: colours of the visible area's first two rows, such as "RGGB".
        bits: bits that hold `white`.
        black: black level of the sites (0,0), (0,1), (1,0), (1,1), DN.
        white: white level, DN; `clip`: where this sensor really clips (at most `white`).
        orientation: TIFF orientation (1 to 8) that shows the picture upright.
        wb: multipliers of R, G, B as shot, green 1.
        colour_matrix: XYZ -> camera under `illuminant` (EXIF number, 0 where not said).
        cam_to_srgb: white-balanced camera RGB -> linear sRGB, rows sum to 1.
        frames: pictures in the file; the first is read.
        noise_reduction: DNG's NoiseReductionApplied, None where not said.
        noise_profile: DNG's NoiseProfile, () where not said.
        pixel_aspect: width of a pixel over its height.
        crop: left, top, width, height of the picture that the camera shows, within the visible
            area; None where it is all of it.
        margins: rows above and columns left of the visible area in the file.
        exif: entries to carry over.
    """

    make: str
    model: str
    lens: str
    iso: float | None
    exposure_s: float | None
    f_number: float | None
    focal_mm: float | None
    datetime: str
    width: int
    height: int
    cfa: str
    bits: int
    black: tuple[float, float, float, float]
    white: float
    clip: float
    flip: int
    orientation: int
    wb: tuple[float, float, float]
    colour_matrix: Matrix
    illuminant: int
    cam_to_srgb: Matrix
    frames: int
    noise_reduction: float | None
    noise_profile: tuple[float, ...]
    pixel_aspect: float
    crop: tuple[int, int, int, int] | None
    margins: tuple[int, int]
    exif: ExifFacts

    @property
    def neutral(self) -> tuple[float, float, float]:
        """Camera RGB of a grey surface, green 1 (DNG's AsShotNeutral)."""
        return (1.0 / self.wb[0], 1.0, 1.0 / self.wb[2])

    @property
    def camera(self) -> str:
        """Make and model without the make said twice."""
        known = self.model.lower().split()
        if any(word in known for word in self.make.lower().split()):
            return self.model
        return f"{self.make} {self.model}".strip()

    @property
    def unique_camera(self) -> str:
        """The camera as Adobe's profiles call it: "Nikon D850" for the camera's "NIKON D850"."""
        first, *rest = self.camera.split() or ["Unknown", "camera"]
        known = first.lower() in self.make.lower().split()
        return " ".join([first.capitalize() if known and first.isupper() else first, *rest])


@dataclass(frozen=True)
class RawImage:
    """A mosaic, (H, W) uint16, the visible area unmodified, and its facts."""

    facts: RawFacts
    mosaic: NDArray[np.uint16]


def read_facts(path: Path) -> RawFacts:
    """Facts alone (`clip` is then `white`).

    Raises:
        UserError: as `read_raw`.
    """
    raw = rawpy.RawPy()
    try:
        return _facts(raw, path, open_raw(raw, path))
    finally:
        raw.close()


def read_raw(path: Path) -> RawImage:
    """Unpack a Bayer RAW file.

    Raises:
        UserError: it is missing, empty, cut short, no RAW, or no Bayer mosaic.
    """
    raw = rawpy.RawPy()
    try:
        facts = _facts(raw, path, open_raw(raw, path))
        mosaic = np.array(raw.raw_image_visible, dtype=np.uint16)
    finally:
        raw.close()
    if mosaic.shape != (facts.height, facts.width):
        raise UserError(f"{path.name} holds no plain mosaic; this kind of RAW is not supported yet")
    return RawImage(replace(facts, clip=_clip(mosaic, facts)), mosaic)


def _facts(raw: rawpy.RawPy, path: Path, dng: DngSource | None) -> RawFacts:
    sizes = raw.sizes
    if sizes.width < 1 or sizes.height < 1:
        raise UserError(f"{path.name} holds no picture; choose another file")
    _refuse_other_sensors(raw, path)
    exif = _with_libraw(read_exif(path), raw, path)
    black, white = _black(raw, dng), float(raw.white_level)
    if not 0.0 <= max(black) < white:
        raise UserError(
            f"{path.name} says that black is {max(black):.0f} and white {white:.0f}, which cannot "
            "be; convert it anew from the original"
        )
    wb, matrix, illuminant, cam_to_srgb = colours(raw, path, dng, black)
    return RawFacts(
        make=exif.make,
        model=exif.model,
        lens=exif.lens,
        iso=exif.iso,
        exposure_s=exif.exposure_s,
        f_number=exif.f_number,
        focal_mm=exif.focal_mm,
        datetime=exif.datetime,
        width=sizes.width,
        height=sizes.height,
        cfa=_order(raw),
        bits=int(white).bit_length(),
        black=black,
        white=white,
        clip=white,
        flip=sizes.flip,
        orientation=_ORIENTATION.get(sizes.flip, 1),
        wb=wb,
        colour_matrix=matrix,
        illuminant=illuminant,
        cam_to_srgb=cam_to_srgb,
        frames=dng.frames if dng is not None else 1,
        noise_reduction=dng.noise_reduction if dng is not None else None,
        noise_profile=dng.noise_profile if dng is not None else (),
        pixel_aspect=float(sizes.pixel_aspect) or 1.0,
        crop=_crop(sizes, dng),
        margins=(sizes.top_margin, sizes.left_margin),
        exif=exif,
    )


def _refuse_other_sensors(raw: rawpy.RawPy, path: Path) -> None:
    filters = raw.color_desc.decode("ascii", "replace")
    pattern = raw.raw_pattern
    if raw.raw_type == rawpy.RawType.Stack and raw.num_colors > 1:
        what = "is already demosaiced (linear DNG or sRAW)"
    elif raw.num_colors == 1:
        what = "comes from a monochrome sensor"
    elif pattern is None:
        what = "has no Bayer mosaic"
    elif pattern.shape == (6, 6):
        what = "comes from an X-Trans sensor"
    elif pattern.shape != (2, 2) or sorted(filters) != sorted("RGBG"):
        what = f"has another colour filter than Bayer's ({filters})"
    elif (order := _order(raw)) not in _BAYER:
        what = f"has another colour filter than Bayer's ({order})"
    else:
        return
    raise not_supported(path, what)


def _order(raw: rawpy.RawPy) -> str:
    return "".join("RGBG"[index] for index in site_colours(raw))


def _with_libraw(exif: ExifFacts, raw: rawpy.RawPy, path: Path) -> ExifFacts:
    """What EXIF says, and LibRaw's word (from makers' notes) where it says nothing."""
    other = raw.other
    told = other.iso_speed > 0  # without it LibRaw's other numbers are its own defaults
    return replace(
        exif,
        lens=exif.lens or raw.lens.model.strip(),
        iso=exif.iso or _positive(other.iso_speed),
        exposure_s=exif.exposure_s or (_positive(other.shutter_speed) if told else None),
        f_number=exif.f_number or (_positive(other.aperture) if told else None),
        focal_mm=exif.focal_mm or _positive(other.focal_length),
        datetime=exif.datetime or _time(other, path),
    )


def _black(raw: rawpy.RawPy, dng: DngSource | None) -> tuple[float, float, float, float]:
    """Black in site order; LibRaw's are whole numbers by colour index.

    A DNG's table begins at the active area's corner, from which LibRaw moves an odd margin by one
    pixel without moving the table.
    """
    if dng is not None:
        top, left, _, _ = dng.active
        found = dng.black(raw.sizes.top_margin - top, raw.sizes.left_margin - left)
        if found is not None:
            return found
    levels = raw.black_level_per_channel
    a, b, c, d = (float(levels[index]) for index in site_colours(raw))
    return a, b, c, d


def _clip(mosaic: NDArray[np.uint16], facts: RawFacts) -> float:
    """Where the sensor clips: white, or a lower spike at the very top of the histogram."""
    top, black = int(mosaic.max()), max(facts.black)
    if not black + 0.5 * (facts.white - black) < top < facts.white:
        return facts.white
    counts = np.bincount(mosaic[mosaic > 0.9 * top], minlength=top + 1)
    near = counts[int(0.97 * top) : top]
    spike = counts[top] > max(64, 20 * float(near.mean()) if near.size else 0)
    return float(top) if spike else facts.white


def _crop(sizes: Any, dng: DngSource | None) -> tuple[int, int, int, int] | None:
    if dng is not None and dng.crop is not None:
        left, top, width, height = dng.crop
        left += dng.active[1] - sizes.left_margin
        top += dng.active[0] - sizes.top_margin
    else:
        left = sizes.crop_left_margin - sizes.left_margin
        top = sizes.crop_top_margin - sizes.top_margin
        width, height = sizes.crop_width, sizes.crop_height
    inside = min(left, top) >= 0 and min(width, height) > 0
    if not inside or left + width > sizes.width or top + height > sizes.height:
        return None
    return None if (width, height) == (sizes.width, sizes.height) else (left, top, width, height)


def _positive(value: float) -> float | None:
    return float(value) if value and np.isfinite(value) and value > 0 else None


def _time(other: Any, path: Path) -> str:
    stamp = other.timestamp
    if stamp is None or stamp.year <= 1990:
        return ""
    if path.suffix.lower() == ".crw":
        # A CRW counts the seconds of its owner's clock, which rawpy takes for UTC and turns into
        # this machine's time.
        stamp = datetime.fromtimestamp(stamp.timestamp(), UTC)
    return stamp.strftime("%Y:%m:%d %H:%M:%S")
