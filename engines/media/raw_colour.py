"""Colour of a RAW: white balance as shot, and the matrices between camera, XYZ and sRGB.

LibRaw knows most cameras. Where it, or the file, does not say something, what LibRaw would do when
developing is found out and written down, so that a copy of the file is developed in the same way.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rawpy
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.dng_source import DngSource
from engines.media.raw_facts import BAYER, Matrix
from engines.media.raw_sensor import Sensor

XYZ_FROM_SRGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip
D65 = 21  # EXIF's number of the illuminant

_OWN_MATRIX = 0.125  # above it, LibRaw takes the first number of a maker's own matrix for real
_Found = tuple[tuple[float, ...], Matrix, int, Matrix]


def colours(
    raw: rawpy.RawPy,
    path: Path,
    dng: DngSource | None,
    black: tuple[float, ...],
    sensor: Sensor,
) -> _Found:
    """White balance, XYZ -> camera with its illuminant, and camera -> sRGB.

    Args:
        raw: unpacked file.
        path: of the file.
        dng: what the file says if it is a DNG.
        black: levels, see `RawFacts`.
        sensor: what its samples are.

    Returns:
        Multipliers of the colours (green 1); rows XYZ -> camera, one a colour; EXIF number of its
        illuminant; three rows white-balanced camera -> linear sRGB, each with the sum 1.

    Raises:
        UserError: nobody knows the colours of a four-colour sensor.
    """
    if sensor.channels == 1 and not sensor.cfa:
        one = _rows(np.eye(3))
        return (1.0, 1.0, 1.0), one, D65, one
    if len(sensor.colours) == 4:
        return _of_four(raw, path, dng, sensor)
    balance = _white_balance(raw, black, sensor)
    choices = [one for one in dng.matrices if len(one[0]) == 9] if dng is not None else []
    known = choices[0][0] if choices else raw.rgb_xyz_matrix[:3]
    flat = np.asarray(known, dtype=np.float64).reshape(3, 3)
    given = np.asarray(raw.color_matrix, dtype=np.float64)[:, :3]
    whitened = _whitened(flat)
    if whitened is not None and (dng is not None or given[0, 0] <= _OWN_MATRIX):
        # LibRaw's own for a DNG has the file's calibration of this one camera in it.
        to_srgb = _rows_to_one(given) if np.any(given) else whitened
        return balance, _rows(flat), choices[0][1] if choices else D65, _rows(to_srgb)
    if given[0, 0] > _OWN_MATRIX:
        to_srgb = given
    else:
        to_srgb = _measured(path, black) if sensor.cfa in BAYER else np.eye(3)
    scale = np.linalg.inv(to_srgb).sum(axis=1) if _regular(to_srgb) else np.zeros(3)
    if np.all(scale > 0.01):
        # What there is of white balance in the matrix belongs into the multipliers.
        balance = (balance[0] / scale[0], balance[1] / scale[1], balance[2] / scale[2])
        to_srgb = to_srgb * scale
    else:
        to_srgb = np.eye(3)
    daylight = [m if m > 0 else 1.0 for m in raw.daylight_whitebalance[:3]]
    to_camera = np.linalg.inv(XYZ_FROM_SRGB @ to_srgb) * daylight[1] / np.array(daylight)[:, None]
    red, green, blue = (float(value) for value in balance)
    return (red / green, 1.0, blue / green), _rows(to_camera), D65, _rows(to_srgb)


def _of_four(
    raw: rawpy.RawPy, path: Path, dng: DngSource | None, sensor: Sensor
) -> tuple[tuple[float, ...], Matrix, int, Matrix]:
    """Of a sensor with four colours, whose three colours of light are a best fit."""
    choices = [one for one in dng.matrices if len(one[0]) == 12] if dng is not None else []
    known = np.asarray(choices[0][0] if choices else raw.rgb_xyz_matrix, np.float64).reshape(4, 3)
    forward = known @ XYZ_FROM_SRGB
    if np.any(np.abs(forward.sum(axis=1)) < 1e-6) or np.linalg.matrix_rank(forward) < 3:
        raise UserError(
            f"{path.name} has four colours, and neither it nor LibRaw says which they are"
        )
    to_srgb = np.linalg.pinv(_rows_to_one(forward)).astype(np.float64)
    balance = next(
        np.asarray(found[:4], dtype=np.float64)
        for found in (raw.camera_whitebalance, raw.daylight_whitebalance, (1.0, 1.0, 1.0, 1.0))
        if min(found[:4]) > 0.0
    )
    balance /= balance[max(sensor.colours.find("G"), 0)]
    light = choices[0][1] if choices else D65
    return tuple(float(v) for v in balance), _rows(known), light, _rows(_rows_to_one(to_srgb))


def _white_balance(
    raw: rawpy.RawPy, black: tuple[float, ...], sensor: Sensor
) -> tuple[float, float, float]:
    """As shot; LibRaw's own guess from the picture where the camera did not say."""
    guess = _grey_world(raw, black) if sensor.cfa in BAYER else None
    for found in (raw.camera_whitebalance, guess, raw.daylight_whitebalance):
        if found is None:
            continue
        red, green, blue = (float(v) for v in found[:3])
        if red > 0 and green > 0 and blue > 0:
            return red / green, 1.0, blue / green
    return 1.0, 1.0, 1.0


def _grey_world(raw: rawpy.RawPy, black: tuple[float, ...]) -> tuple[float, float, float] | None:
    """Multipliers that make the mean of the picture grey, over blocks where nothing is clipped.

    The same blocks and margin as LibRaw's automatic white balance.
    """
    mosaic = raw.raw_image_visible
    height, width = (side // 8 * 8 for side in mosaic.shape)
    blocks = mosaic[:height, :width].reshape(height // 8, 8, width // 8, 8)
    good = (blocks.max(axis=(1, 3)) <= raw.white_level - 25)[:, None, :, None]
    sums = np.zeros(3)
    counts = np.zeros(3)
    for site, colour in enumerate(site_colours(raw)):
        y, x = divmod(site, 2)
        plane = np.maximum(blocks[:, y::2, :, x::2].astype(np.float32) - black[site], 0.0)
        sums[(0, 1, 2, 1)[colour]] += np.where(good, plane, 0.0).sum(dtype=np.float64)
        counts[(0, 1, 2, 1)[colour]] += float(good.sum()) * 16
    if not np.all(sums > 0):
        return None
    red, green, blue = counts / sums
    return float(red), float(green), float(blue)


def site_colours(raw: rawpy.RawPy) -> list[int]:
    """LibRaw's colour indices (0 R, 1 G, 2 B, 3 the other G) of the visible area's first cell."""
    top, left = raw.sizes.top_margin, raw.sizes.left_margin
    return [raw.raw_color(top + y, left + x) for y in (0, 1) for x in (0, 1)]


def _measured(path: Path, black: tuple[float, ...]) -> NDArray[np.float64]:
    """Camera -> sRGB as LibRaw applies it, from four even fields that it is made to develop.

    It keeps some makers' matrices (Kodak's, Leaf's) to itself. The fields are one grey, and the
    same with a little more of one colour; they replace the picture in a second, unpacked copy.
    """
    try:
        with rawpy.imread(str(path)) as raw:
            visible = raw.raw_image_visible
            sites = [(0, 1, 2, 1)[colour] for colour in site_colours(raw)]
            span = raw.white_level - max(black)
            levels = np.full((4, 3), 0.3)
            levels[1:] += 0.2 * np.eye(3)
            levels = np.round(levels * span)  # of the fields, by colour: whole DN above black
            for field, above in enumerate(levels):
                rest = visible[:, field * visible.shape[1] // 4 // 2 * 2 :]
                for site, colour in enumerate(sites):
                    y, x = divmod(site, 2)
                    rest[y::2, x::2] = round(black[site] + above[colour])
            shown = raw.postprocess(
                half_size=True, user_wb=[1.0, 1.0, 1.0, 1.0], gamma=(1, 1), no_auto_bright=True,
                output_bps=16, adjust_maximum_thr=0.0, output_color=rawpy.ColorSpace.sRGB,
                user_flip=0,
            )  # fmt: skip
    except rawpy.LibRawError:
        return np.eye(3, dtype=np.float64)
    row = shown[shown.shape[0] // 2].astype(np.float64) / 65535.0
    grey, *others = (row[int((field + 0.5) * len(row) / 4)] for field in range(4))
    steps = (levels[1:] - levels[0]).sum(axis=1) / span
    return np.stack([(one - grey) / step for one, step in zip(others, steps, strict=True)], axis=1)


def _whitened(matrix: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """XYZ -> camera to white-balanced camera -> sRGB; None where it is none."""
    forward = matrix @ XYZ_FROM_SRGB
    if not _regular(forward) or np.any(np.abs(forward.sum(axis=1)) < 1e-6):
        return None
    return np.linalg.inv(_rows_to_one(forward)).astype(np.float64)


def _regular(matrix: NDArray[np.float64]) -> bool:
    return bool(np.all(np.isfinite(matrix)) and abs(np.linalg.det(matrix)) > 1e-6)


def _rows_to_one(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = matrix.sum(axis=1, keepdims=True)
    return matrix / np.where(np.abs(sums) < 1e-6, 1.0, sums)


def _rows(matrix: NDArray[np.float64]) -> Matrix:
    return tuple(tuple(float(value) for value in row) for row in matrix)
