"""What of a picture is to be filled: a mask or strokes, what was erased, or was painted over."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.picture import read_picture
from engines.media.picture_facts import Picture
from engines.superres.reddiff.brush import drawn
from engines.superres.reddiff.params import ReddiffParams

_NEAR = 24.0 / 255.0  # how far a JPEG moves a painted colour


def marked(
    path: Path, params: ReddiffParams, origin: tuple[int, int] | None
) -> tuple[NDArray[np.bool_], bool]:
    """Which pixels are known, and whether transparency was the mark.

    Args:
        path: the picture.
        params: the mask's path, the strokes, the colour and the edge.
        origin: (y, x) of its first pixel in the picture that the mask belongs to; None where it
            is that picture.

    Returns:
        (H, W) True where the picture is known; True where its transparency is used up by that.

    Raises:
        UserError: nothing is marked, or everything, or the mask is of another size.
    """
    picture = read_picture(path)
    holes, erased = _holes(picture, params, origin)
    if params.grow:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * params.grow + 1,) * 2)
        holes = cv2.dilate(holes.astype(np.uint8), disc).astype(bool)
    if holes.all():
        raise UserError(f"All of {path.name} is marked, so nothing is left to go by")
    if not holes.any() and origin is None:
        raise UserError(
            f"Nothing is marked in {path.name}; paint over what is to be filled with the brush, "
            f"erase it, fill it with {params.paint}, or give a mask"
        )
    return ~holes, erased


def _holes(
    picture: Picture, params: ReddiffParams, origin: tuple[int, int] | None
) -> tuple[NDArray[np.bool_], bool]:
    if params.mask or params.strokes:
        holes = drawn(params.strokes, picture.pixels.shape[:2], origin or (0, 0))
        if params.mask:
            holes |= _from_file(Path(params.mask).expanduser(), picture, origin)
        return holes, False
    if picture.alpha is not None:
        clear = picture.alpha < np.iinfo(picture.alpha.dtype).max / 2
        if clear.any():
            return clear, True
    if picture.pixels.shape[2] < 3:
        return np.zeros(picture.pixels.shape[:2], bool), False
    full = np.iinfo(picture.pixels.dtype).max
    wanted = np.array([int(params.paint[n : n + 2], 16) for n in (1, 3, 5)]) / 255.0
    holes = np.ones(picture.pixels.shape[:2], bool)
    for channel, value in enumerate(wanted):
        low, high = (value - _NEAR) * full, (value + _NEAR) * full
        holes &= (picture.pixels[:, :, channel] >= low) & (picture.pixels[:, :, channel] <= high)
    return holes, False


def _from_file(path: Path, picture: Picture, origin: tuple[int, int] | None) -> NDArray[np.bool_]:
    if not path.is_file():
        raise UserError(f"There is no mask {path.name}; check its path")
    mask = read_picture(path)
    white = mask.pixels.mean(axis=2) > np.iinfo(mask.pixels.dtype).max / 2
    if mask.alpha is not None:
        white &= mask.alpha > 0
    height, width = picture.pixels.shape[:2]
    if origin is not None:
        white = white[origin[0] : origin[0] + height, origin[1] : origin[1] + width]
    if white.shape != (height, width):
        raise UserError(
            f"The mask {path.name} is {mask.facts.width} x {mask.facts.height} pixels and the "
            f"picture {picture.facts.width} x {picture.facts.height}; make it as large"
        )
    return white
