"""All colours of every pixel of a mosaic of any cell: a plain interpolation.

Weighted means of the leading colour (green where there is one), and of the others' difference from
it, which changes more slowly. For pictures on the screen, and for filters that LibRaw or OpenCV do
not know; a converter's own demosaicing is sharper.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_LEAD, _OTHERS = 0.9, 1.6  # pixels; standard deviation of the weights
HALO = 9  # pixels around one that have a say in it, at most


def interpolated(mosaic: Floats, colours: NDArray[np.int64], lead: int, count: int = 3) -> Floats:
    """Interpolate.

    Args:
        mosaic: (H, W) float32.
        colours: (H, W) number of each pixel's colour.
        lead: number of the leading colour.
        count: of colours.

    Returns:
        (H, W, count) float32; the mosaic's own values where they are.
    """
    light = np.empty((*mosaic.shape, count), np.float32)
    seen = colours == lead
    light[:, :, lead] = np.where(seen, mosaic, _means(mosaic, seen, _LEAD))
    difference = mosaic - light[:, :, lead]
    for colour in range(count):
        if colour != lead:
            seen = colours == colour
            found = light[:, :, lead] + _means(difference, seen, _OTHERS)
            light[:, :, colour] = np.where(seen, mosaic, found)
    return light


def _means(values: Floats, seen: NDArray[np.bool_], reach: float) -> Floats:
    """Gaussian-weighted means of the pixels that are seen."""
    side = 2 * round(3 * reach) + 1
    weight = seen.astype(np.float32)
    total = np.asarray(cv2.GaussianBlur(values * weight, (side, side), reach), np.float32)
    whole = np.asarray(cv2.GaussianBlur(weight, (side, side), reach), np.float32)
    total /= np.maximum(whole, np.float32(1e-6))
    return total
