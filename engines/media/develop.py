"""From mosaic to picture: the quick rendering for comparing, and LibRaw's for TIFF and JPEG.

Before and after are drawn by the same function with the same exposure, or the comparison would
show the rendering rather than the noise.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rawpy
from numpy.typing import NDArray
from PIL import Image, ImageCms

from engines.base import UserError
from engines.media.exif import ExifFacts, exif_block
from engines.media.interpolate import HALO, interpolated
from engines.media.provenance import to_xmp
from engines.media.raw_facts import RawFacts

# Rows rendered at once, and beside them: whole cells of every mosaic, so all strips start alike.
_STRIP, _HALO = 144, 12
assert _HALO >= HALO
_SHOULDER = 0.8  # linear light above which highlights are rolled off instead of cut
_BRIGHTEST = 4.0  # linear light that is told apart from more
_SHOWN_STEPS = 13_000  # of linear light 1; a quarter of an eight-bit step in the deepest shadows


def auto_stops(mosaic: NDArray[np.uint16], facts: RawFacts, gain: int = 1) -> float:
    """Exposure in EV that shows a picture at a usual brightness, from 0 to 8.

    The brightest hundredth of the white-balanced picture goes to 0.9, unless that leaves the
    middle darker than a twelfth: then the middle counts, as with a lamp in a dark room. It is
    never darkened, or what is clipped would be shown grey.
    """
    balance = _balance(facts)
    if facts.channels == 1:
        factors = [balance[facts.colours.index(colour)] for colour in facts.cfa or "RRRR"]
    else:
        factors = list(balance)
    side = facts.black_cell.shape[0]
    step = max(side * (min(mosaic.shape[:2]) // (600 * side)), side)
    height, width = (length // side * side for length in mosaic.shape[:2])
    brightest = np.zeros((-(-height // step), -(-width // step)), np.float32)
    for site, (black, factor) in enumerate(zip(facts.black, factors, strict=True)):
        if facts.channels == 1:
            plane = mosaic[site // side : height : step, site % side : width : step]
        else:
            plane = mosaic[:height:step, :width:step, site]
        linear = (plane.astype(np.float32) / gain - black) / (facts.clip - black) * factor
        np.maximum(brightest, linear, out=brightest)
    if brightest.size == 0:
        return 0.0
    top, middle = (max(float(v), 1e-6) for v in np.percentile(brightest, (99.0, 50.0)))
    stops = max(np.log2(0.9 / top), min(np.log2(0.08 / middle), np.log2(0.9 / top) + 3.0))
    return float(np.clip(round(stops, 1), 0.0, 8.0))


def render_preview(
    mosaic: NDArray[np.uint16], facts: RawFacts, stops: float, *, gain: int = 1
) -> NDArray[np.uint8]:
    """Draw a mosaic for the screen, in strips; not rotated (see `upright`).

    Args:
        mosaic: (H, W) or (H, W, 3) uint16, levels those of `facts` times `gain`.
        facts: levels, CFA, white balance and colours.
        stops: exposure in EV.
        gain: see `mosaic`.

    Returns:
        (h, w, 3) uint8 sRGB with square pixels.
    """
    height, width = mosaic.shape[:2]
    out = np.empty((height, width, 3), dtype=np.uint8)
    curve = _curve()
    balance = _balance(facts)
    # Every colour stops where the one that white balance leaves as it is does, as in LibRaw:
    # what is clipped is white then.
    limits = tuple(1.0 / one for one in balance)
    coding = _Coding(facts.clip, _SHOWN_STEPS * 2.0 ** max(stops, 0.0), _SHOWN_STEPS, limits)
    # Coded camera RGB -> index of the curve.
    factor = 2.0 ** min(stops, 0.0) * 65535.0 / _BRIGHTEST / _SHOWN_STEPS
    matrix = np.asarray(facts.cam_to_srgb) * balance * factor
    if facts.kind == "mono":
        matrix = matrix.sum(axis=1, keepdims=True)
    matrix = np.hstack([matrix, -matrix.sum(axis=1, keepdims=True) * coding.black])
    for top in range(0, height, _STRIP):
        start, stop = max(top - _HALO, 0), min(top + _STRIP + _HALO, height)
        camera = _interpolate(mosaic[start:stop], facts, gain, coding)
        index = cv2.transform(camera[top - start : top - start + _STRIP], matrix)
        np.take(curve, np.asarray(index, np.uint16), out=out[top : top + _STRIP], mode="clip")
    return _square(out, facts.pixel_aspect)


def upright(picture: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A picture as the camera was held, by its TIFF orientation."""
    if orientation in (2, 4, 5, 7):
        picture = picture[:, ::-1]
    return np.ascontiguousarray(
        np.rot90(picture, {3: 2, 4: 2, 6: 3, 7: 3, 5: 1, 8: 1}.get(orientation, 0))
    )


def demosaic(mosaic: NDArray[np.uint16], facts: RawFacts, gain: int = 1) -> NDArray[np.uint16]:
    """(H, W) uint16 -> (H, W, 3) uint16 camera RGB, black at 0 and white at 65535.

    What is below black is cut, as converters (darktable, RawTherapee) take 0 for black in a
    demosaiced DNG, whatever it says; but only after the interpolation.
    """
    room = 4095
    coding = _Coding(facts.white, 65535 - room, room, (1.0, 1.0, 1.0))
    rgb = np.empty((*mosaic.shape, 3), dtype=np.uint16)
    for top in range(0, mosaic.shape[0], _STRIP):
        start, stop = max(top - _HALO, 0), min(top + _STRIP + _HALO, mosaic.shape[0])
        part = _interpolate(mosaic[start:stop], facts, gain, coding)[top - start :][:_STRIP]
        above = np.maximum(part, room) - np.float32(room)
        rgb[top : top + _STRIP] = np.rint(above * np.float32(65535 / (65535 - room)))
    return rgb


def needs_demosaicing(facts: RawFacts) -> bool:
    """Whether LibRaw cannot develop such a mosaic: its filter, or X-Trans of its size."""
    return facts.kind == "quad" or (facts.kind == "xtrans" and min(facts.height, facts.width) < 512)


@dataclass(frozen=True)
class _Coding:
    """How levels are written into the 16 bits that OpenCV interpolates.

    Attributes:
        full: level in DN to be written `scale` steps above black.
        scale: see there.
        black: step of black; what is below it is noise, and is kept.
        limits: shares of `scale` above black at which the colours stop.
    """

    full: float
    scale: float
    black: float
    limits: tuple[float, ...]


def _interpolate(
    mosaic: NDArray[np.uint16], facts: RawFacts, gain: int, coding: _Coding
) -> NDArray[np.uint16]:
    """Coded camera colours (h, w, colours), or (h, w) of one, of rows that begin with a cell.

    Bayer mosaics are interpolated along edges (OpenCV), others plainly.
    """
    height, width = mosaic.shape[:2]
    black = facts.black_cell
    side = black.shape[0]

    def tiled(cell: NDArray[np.float32]) -> NDArray[np.float32]:
        if facts.channels > 1:
            return cell
        return np.tile(cell, (height // side + 1, width // side + 1))[:height, :width]

    scale = np.float32(coding.scale) / (np.float32(coding.full) - black)
    most = [coding.black + coding.scale * limit for limit in coding.limits]
    if facts.cfa:
        most = np.take(most, facts.colour_cell)
    elif facts.channels == 1:
        most = np.full(black.shape, most[0])
    top = np.asarray(most, dtype=np.float32).clip(0.0, 65535.0)
    linear = mosaic * tiled((scale / gain).astype(np.float32))
    linear += tiled((coding.black - black * scale).astype(np.float32))
    np.minimum(np.maximum(np.rint(linear, out=linear), 0.0, out=linear), tiled(top), out=linear)
    if facts.kind in ("mono", "linear"):
        return linear.astype(np.uint16)
    if min(linear.shape) < 4:
        return np.repeat(linear.astype(np.uint16)[:, :, None], len(facts.colours), axis=2)
    if facts.kind == "bayer":
        code = getattr(cv2, f"COLOR_Bayer{facts.cfa}2RGB_EA")
        return np.asarray(cv2.demosaicing(linear.astype(np.uint16), code), dtype=np.uint16)
    repeats = height // side + 1, width // side + 1
    colours = np.tile(facts.colour_cell, repeats)[:height, :width]
    lead = max(facts.colours.find("G"), 0)
    light = interpolated(linear, colours, lead, len(facts.colours))
    stops = np.asarray([coding.black + coding.scale * limit for limit in coding.limits], np.float32)
    return np.rint(np.clip(light, 0.0, stops.clip(0.0, 65535.0))).astype(np.uint16)


def develop(dng: Path, facts: RawFacts, gain: int, stops: float) -> NDArray[np.uint16]:
    """Develop one of our own DNG files with LibRaw: camera white balance, sRGB, upright.

    Args:
        dng: file written by `engines.media.dng.write_developable`.
        facts: that it was written with.
        gain: that it was written with.
        stops: exposure in EV.

    Returns:
        (h, w, 3) uint16; eight bits are its upper half.

    Raises:
        UserError: LibRaw could not develop it.
    """
    # Brightening is done by a lower saturation level, which keeps all sixteen bits of the shadows.
    # LibRaw's own guess of that level depends on the brightest pixel, that is, on the noise.
    full = (facts.clip - min(facts.black)) * gain / 2.0 ** max(stops, 0.0)
    if needs_demosaicing(facts):
        full *= 65535.0 / (facts.white - min(facts.black)) / gain
    try:
        with rawpy.imread(str(dng)) as raw:
            developed = raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                adjust_maximum_thr=0.0,
                user_sat=max(round(full), 1),  # above black
                bright=2.0 ** min(stops, 0.0),
                gamma=(2.4, 12.92),  # sRGB's, as the profile says
                output_bps=16,
                output_color=rawpy.ColorSpace.sRGB,
            )
    except rawpy.LibRawError as error:
        raise UserError(
            "LibRaw could not develop this picture; choose DNG as the output"
        ) from error
    developed = developed.astype(np.uint16, copy=False)
    return developed if developed.shape[2] == 3 else np.repeat(developed, 3, axis=2)


def eight_bits(rgb: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The upper half of every sample."""
    out = np.empty(rgb.shape, dtype=np.uint8)
    return np.right_shift(rgb, 8, out=out, casting="unsafe")


def write_jpeg(
    path: Path,
    rgb: NDArray[np.uint8],
    exif: ExifFacts,
    provenance: Mapping[str, Any] | None,
    quality: int = 95,
) -> None:
    """Upright JPEG without chroma subsampling, with sRGB profile; EXIF beside provenance."""
    more: dict[str, Any] = {}
    if provenance is not None:
        more["exif"] = exif_block(exif, rgb.shape[1], rgb.shape[0])
        more["xmp"] = to_xmp(provenance).encode("utf-8")
    Image.fromarray(rgb).save(
        path, "JPEG", quality=quality, subsampling=0, icc_profile=srgb_profile(), **more
    )


def reduced(rgb: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A picture of at most `side` pixels along its longer side, every pixel a mean."""
    height, width = rgb.shape[:2]
    factor = side / max(height, width)
    if factor >= 1.0:
        return rgb
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def srgb_profile() -> bytes:
    """The ICC profile of sRGB, without the time at which it was made."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    return bytes(profile)


def _balance(facts: RawFacts) -> tuple[float, ...]:
    """White balance with the smallest factor 1, so that what is clipped comes out white."""
    least = min(facts.wb)
    return tuple(one / least for one in facts.wb)


def _curve() -> NDArray[np.uint8]:
    """65536 steps of linear light from 0 to `_BRIGHTEST` -> sRGB uint8, highlights rolled off."""
    linear = np.arange(65536) * (_BRIGHTEST / 65535.0)
    over = np.maximum(linear - _SHOULDER, 0.0)
    room = 1.0 - _SHOULDER
    shown = np.where(linear > _SHOULDER, _SHOULDER + room * (1.0 - np.exp(-over / room)), linear)
    encoded = np.where(shown <= 0.0031308, shown * 12.92, 1.055 * shown ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255.0).clip(0, 255).astype(np.uint8)


def _square(picture: NDArray[np.uint8], aspect: float) -> NDArray[np.uint8]:
    """Stretch a picture whose pixels are not square, as LibRaw does."""
    if aspect == 1.0:
        return picture
    height, width = picture.shape[:2]
    wide = aspect > 1.0
    size = (round(width * aspect), height) if wide else (width, round(height / aspect))
    return np.asarray(cv2.resize(picture, size), dtype=np.uint8)
