"""Hot pixels: single photosites that show light where there is none.

A network trained on noise keeps them, as they look like the smallest of stars. What tells the two
apart is colour: the lens spreads a star over neighbouring photosites, so at least one other plane
of the mosaic sees it too; a defect stands in one plane alone. Only even surroundings are judged:
in fine texture any photosite may stand out by right, and a defect there does not disturb.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

_ABOVE = 8.0  # noises above the brightest of the eight neighbours of the same colour
_EVEN = 3.5  # noises: who is further from the middle of its surroundings shows light, or texture
_AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=np.uint8)
_NEXT = np.ones((2, 2), dtype=np.uint8)
_PLANES = 4


def hot_pixels(planes: Tensor, gain: float, sigma: float, scale: float) -> tuple[Tensor, Tensor]:
    """Find hot pixels, and what stands there instead.

    Args:
        planes: (4, h, w) float32 on the CPU, 0 at black and 1 at white.
        gain: K in DN per electron.
        sigma: read noise in DN.
        scale: white minus black in DN.

    Returns:
        (n, 3) int64, plane, row and column of each; (n,) float32, the median of its surroundings.
    """
    height, width = planes.shape[1:]
    if height < 3 or width < 3:
        return torch.empty(0, 3, dtype=torch.int64), torch.empty(0)

    def noise(level: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(level, 0.0) * (gain * scale) + sigma**2) / scale

    middles: list[np.ndarray] = []
    uneven = np.zeros((height, width), dtype=np.uint8)  # bit p: plane p shows something here
    single: list[np.ndarray] = []
    for number, plane in enumerate(planes):
        values = plane.contiguous().numpy()
        middle = np.asarray(cv2.medianBlur(values, 3))
        spread = noise(middle)
        uneven |= (np.abs(values - middle) > _EVEN * spread).astype(np.uint8) << number
        around = np.asarray(cv2.dilate(values, _AROUND, borderType=cv2.BORDER_REFLECT_101))
        below = np.asarray(cv2.erode(values, _AROUND, borderType=cv2.BORDER_REFLECT_101))
        quiet = np.maximum(around - middle, middle - below) < _EVEN * spread
        single.append(quiet & (values > around + _ABOVE * spread))
        middles.append(middle)
    places: list[np.ndarray] = []
    instead: list[np.ndarray] = []
    for number in range(_PLANES):
        others = (uneven & (0b1111 ^ (1 << number))).astype(bool).astype(np.uint8)
        # The photosites next to this one lie in two by two cells, on the side where it lies.
        beside = cv2.dilate(others, _NEXT, anchor=(1 - number % 2, 1 - number // 2))
        hot = single[number] & (beside == 0)
        rows, columns = np.nonzero(hot)
        places.append(np.stack([np.full_like(rows, number), rows, columns], axis=1))
        instead.append(middles[number][rows, columns])
    return torch.from_numpy(np.concatenate(places)), torch.from_numpy(np.concatenate(instead))
