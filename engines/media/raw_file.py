"""Camera RAW files: the mosaic exactly as the sensor gave it, and the facts about it.

LibRaw (rawpy) unpacks; nothing is subtracted, scaled, interpolated or rotated here. Whatever
LibRaw cannot read, or what is no picture of photosites on a plain grid, is refused with one
sentence.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.dng_source import DngSource
from engines.media.exif import ExifFacts, read_exif
from engines.media.raw_colour import colours
from engines.media.raw_facts import KIND_NAMES, RawFacts, RawImage
from engines.media.raw_frames import opened
from engines.media.raw_sensor import Sensor, sensor_of

RAW_SUFFIXES: tuple[str, ...] = tuple(
    ".3fr .arw .bay .cap .cr2 .cr3 .crw .dcr .dcs .dng .drf .eip .erf .fff .gpr .iiq .k25 .kdc "
    ".mdc .mef .mos .mrw .nef .nrw .orf .pef .ptx .pxn .r3d .raf .raw .rw2 .rwl .rwz .sr2 .srf "
    ".srw .x3f".split()
)

# LibRaw's flip -> TIFF's orientation; the mirrored ones come from a few phones' DNG only.
_ORIENTATION = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}


def read_facts(path: Path) -> RawFacts:
    """Facts alone (`clip` is then `white`).

    Raises:
        UserError: as `read_raw`.
    """
    with opened(path) as (raw, dng):
        return _facts(raw, path, dng, sensor_of(raw, path, dng))


def read_raw(path: Path, frame: int = 0) -> RawImage:
    """Unpack a RAW file of any kind.

    Args:
        path: of the file.
        frame: which of its pictures, from 0 to below `RawFacts.frames`.

    Raises:
        UserError: it is missing, empty, cut short, no RAW, or of a sensor that is not read here.
    """
    with opened(path, frame) as (raw, dng):
        sensor = sensor_of(raw, path, dng)
        facts = _facts(raw, path, dng, sensor)
        visible = raw.raw_image_visible
        mosaic = np.array(visible if visible.ndim == 2 else visible[:, :, :3], dtype=np.uint16)
    shape = (facts.height, facts.width) if facts.channels == 1 else (facts.height, facts.width, 3)
    if mosaic.shape != shape:
        raise UserError(f"{path.name} holds no plain picture of its sensor; convert it to DNG")
    return RawImage(replace(facts, clip=_clip(mosaic, facts)), mosaic)


def read_bayer(path: Path, what: str) -> RawImage:
    """Unpack a Bayer RAW file for an engine that speaks of no other sensors.

    Args:
        path: of the file.
        what: the engine's work, for the sentence, such as "Calibration".

    Raises:
        UserError: as `read_raw`, or it is no Bayer mosaic.
    """
    raw = read_raw(path)
    if raw.facts.kind != "bayer":
        raise UserError(
            f"{what} works on Bayer mosaics, and {path.name} holds a {KIND_NAMES[raw.facts.kind]}; "
            "raw.yond takes every kind"
        )
    return raw


def _facts(raw: rawpy.RawPy, path: Path, dng: DngSource | None, sensor: Sensor) -> RawFacts:
    sizes = raw.sizes
    if sizes.width < 1 or sizes.height < 1:
        raise UserError(f"{path.name} holds no picture; choose another file")
    exif = _with_libraw(read_exif(path), raw, path)
    black, white = _black(raw, dng, sensor), float(raw.white_level)
    if not 0.0 <= max(black) < white:
        raise UserError(
            f"{path.name} says that black is {max(black):.0f} and white {white:.0f}, which cannot "
            "be; convert it anew from the original"
        )
    wb, matrix, illuminant, cam_to_srgb = colours(raw, path, dng, black, sensor)
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
        cfa=sensor.cfa,
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
        colours=sensor.colours,
        channels=sensor.channels,
    )


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


def _black(raw: rawpy.RawPy, dng: DngSource | None, sensor: Sensor) -> tuple[float, ...]:
    """Black of the cell's sites or of the channels; LibRaw's are whole numbers by colour index.

    A DNG's table begins at the active area's corner, from which LibRaw moves an odd margin by one
    pixel without moving the table.
    """
    if dng is not None:
        top, left, _, _ = dng.active
        shift = raw.sizes.top_margin - top, raw.sizes.left_margin - left
        found = dng.black(*shift, sensor.side) if sensor.channels == 1 else dng.channel_black()
        if found is not None:
            return found
    levels = raw.black_level_per_channel
    return tuple(float(levels[index]) for index in sensor.indices)


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
