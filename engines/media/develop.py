"""From mosaic to picture: the quick rendering for comparing, and LibRaw's for TIFF and JPEG.

Before and after are drawn by the same function with the same exposure, or the comparison would
show the rendering rather than the noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rawpy
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from engines.base import UserError
from engines.media.exif import exif_block
from engines.media.provenance import to_xmp
from engines.media.raw_file import RawFacts

_STRIP = 512  # rows rendered at once; even, so that every strip starts on the same CFA row
_HALO = 8
_SHOULDER = 0.8  # linear light above which highlights are rolled off instead of cut


def auto_stops(mosaic: NDArray[np.uint16], facts: RawFacts) -> float:
    """Exposure in EV that shows a picture at a usual brightness, from -1 to 8.

    The brightest hundredth of the white-balanced picture goes to 0.9, unless that leaves the
    middle darker than a twelfth: then the middle counts, as with a lamp in a dark room.
    """
    step = max(2 * (min(mosaic.shape) // 1200), 2)
    cells = mosaic[: mosaic.shape[0] // 2 * 2, : mosaic.shape[1] // 2 * 2]
    brightest = np.zeros(cells[::step, ::step].shape, dtype=np.float32)
    for site, (y, x) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        plane = cells[y::step, x::step].astype(np.float32)
        factor = _balance(facts)["RGB".index(facts.cfa[site])]
        linear = (plane - facts.black[site]) / (facts.white - facts.black[site]) * factor
        np.maximum(brightest, linear[: brightest.shape[0], : brightest.shape[1]], out=brightest)
    if brightest.size == 0:
        return 0.0
    top, middle = (max(float(v), 1e-6) for v in np.percentile(brightest, (99.0, 50.0)))
    stops = max(np.log2(0.9 / top), min(np.log2(0.08 / middle), np.log2(0.9 / top) + 3.0))
    return float(np.clip(round(stops, 1), -1.0, 8.0))


def render_preview(
    mosaic: NDArray[np.uint16],
    facts: RawFacts,
    stops: float,
    *,
    gain: int = 1,
    upright: bool = True,
) -> NDArray[np.uint8]:
    """Draw a mosaic for the screen, in strips.

    Args:
        mosaic: (H, W) uint16, levels those of `facts` times `gain`.
        facts: levels, CFA, white balance and colours.
        stops: exposure in EV.
        gain: see `mosaic`.
        upright: turn the picture as the camera was held.

    Returns:
        (h, w, 3) uint8 sRGB.
    """
    height, width = mosaic.shape
    out = np.empty((height, width, 3), dtype=np.uint8)
    curve = _curve()
    matrix = np.asarray(facts.cam_to_srgb, dtype=np.float32)
    factors = np.asarray(_balance(facts), dtype=np.float32) * np.float32(2.0**stops)
    for top in range(0, height, _STRIP):
        start, stop = max(top - _HALO, 0), min(top + _STRIP + _HALO, height)
        camera = demosaic(mosaic[start:stop], facts, gain)
        linear = cv2.transform(camera * factors.clip(1e-6), matrix)
        index = (linear * 4095.0 / 4.0).clip(0.0, 4095.0).astype(np.uint16)
        out[top : top + _STRIP] = curve[index][top - start : top - start + _STRIP]
    return np.ascontiguousarray(_turned(out, facts.orientation)) if upright else out


def demosaic(mosaic: NDArray[np.uint16], facts: RawFacts, gain: int = 1) -> NDArray[np.float32]:
    """(H, W) uint16 that starts on an even row -> (H, W, 3) float32 camera RGB, black 0, white 1.

    Edge-aware interpolation (OpenCV); highlights stop at white, so that they stay neutral after
    white balance.
    """
    black = np.tile(
        np.asarray(facts.black, dtype=np.float32).reshape(2, 2),
        (mosaic.shape[0] // 2 + 1, mosaic.shape[1] // 2 + 1),
    )[: mosaic.shape[0], : mosaic.shape[1]]
    # A pedestal is kept through the sixteen-bit interpolation, or noise below black would be cut.
    linear = (mosaic.astype(np.float32) / gain - black) / (facts.white - black)
    coded = ((linear + 0.0625) * 60_000.0).clip(0.0, 65535.0).astype(np.uint16)
    if min(coded.shape) < 4:
        rgb = np.repeat(coded[:, :, None], 3, axis=2)
    else:
        rgb = cv2.demosaicing(coded, getattr(cv2, f"COLOR_Bayer{facts.cfa}2RGB_EA"))
    return np.minimum(rgb.astype(np.float32) / 60_000.0 - 0.0625, 1.0)


def develop(dng: Path, stops: float, bits: int) -> NDArray[Any]:
    """Develop one of our own DNG files with LibRaw: camera white balance, sRGB, upright.

    Args:
        dng: file written by `engines.media.dng.write_dng`.
        stops: exposure in EV.
        bits: 8 or 16.

    Returns:
        (h, w, 3) uint8 or uint16.

    Raises:
        UserError: LibRaw could not develop it.
    """
    try:
        with rawpy.imread(str(dng)) as raw:
            return raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                bright=2.0**stops,
                output_bps=bits,
                output_color=rawpy.ColorSpace.sRGB,
            )
    except rawpy.LibRawError as error:
        raise UserError(
            "LibRaw could not develop this picture; choose DNG as the output"
        ) from error


def write_tiff(
    path: Path, rgb: NDArray[np.uint16], facts: RawFacts, provenance: Mapping[str, Any]
) -> None:
    """16-bit TIFF, deflated, with sRGB profile, camera, EXIF facts and provenance."""
    xmp = to_xmp(provenance).encode("utf-8")
    profile = srgb_profile()
    extra: list[tuple[int, int, int, Any, bool]] = [
        (700, 1, len(xmp), xmp, True),
        (34675, 7, len(profile), profile, True),
    ]
    for code, text in ((271, facts.make), (272, facts.model)):
        if text:
            extra.append((code, 2, len(text) + 1, text, True))
    tifffile.imwrite(
        path,
        rgb,
        photometric="rgb",
        compression="zlib",
        compressionargs={"level": 4},
        metadata=None,
        software="Noise Studio",
        datetime=facts.datetime or None,
        rowsperstrip=256,
        extratags=extra,
    )


def write_jpeg(
    path: Path,
    rgb: NDArray[np.uint8],
    facts: RawFacts,
    provenance: Mapping[str, Any] | None,
    quality: int = 95,
) -> None:
    """JPEG without chroma subsampling, with sRGB profile; EXIF and provenance where given."""
    more: dict[str, Any] = {}
    if provenance is not None:
        more["exif"] = exif_block(facts.exif, orientation=1)
        more["xmp"] = to_xmp(provenance).encode("utf-8")
    Image.fromarray(rgb).save(
        path, "JPEG", quality=quality, subsampling=0, icc_profile=srgb_profile(), **more
    )


def thumbnail(rgb: NDArray[np.uint8], side: int = 320) -> bytes:
    """JPEG of a picture reduced to `side` pixels."""
    picture = Image.fromarray(rgb)
    picture.thumbnail((side, side), Image.Resampling.BOX)
    held = BytesIO()
    picture.save(held, "JPEG", quality=85)
    return held.getvalue()


def srgb_profile() -> bytes:
    """The ICC profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _balance(facts: RawFacts) -> tuple[float, float, float]:
    """White balance with the smallest factor 1, so that what is clipped comes out white."""
    least = min(facts.wb)
    return facts.wb[0] / least, facts.wb[1] / least, facts.wb[2] / least


def _curve() -> NDArray[np.uint8]:
    """4096 steps of linear light from 0 to 4 -> sRGB uint8, highlights rolled off."""
    linear = np.arange(4096) * 4.0 / 4095.0
    over = np.maximum(linear - _SHOULDER, 0.0)
    room = 1.0 - _SHOULDER
    shown = np.where(linear > _SHOULDER, _SHOULDER + room * (1.0 - np.exp(-over / room)), linear)
    encoded = np.where(shown <= 0.0031308, shown * 12.92, 1.055 * shown ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255.0).clip(0, 255).astype(np.uint8)


def _turned(picture: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    return np.rot90(picture, {1: 0, 3: 2, 6: 3, 8: 1}[orientation])
