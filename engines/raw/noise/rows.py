"""Row noise: one offset that all pixels of a sensor row share.

A row's offset is the mean of what its even pixels differ from the rows above and below, weighted by
how quiet they are, and drawn in by how sure it is (Wiener): sigma_row² / (sigma_row² + error²). The
error is what groups of columns disagree by, so texture counts as well as noise. Pixels at
horizontal edges say nothing and are left out. Where the sensor has covered columns (optical black)
their means count too; they see no picture.

Only used where a camera profile or the optical black shows row noise (a picture of window blinds
looks like it), and where it is strong. Measured on sharp photographs 5120 pixels wide at ISO 25600,
noise known: at 0.26 of the pixel noise this gains 0.17 dB of the 0.30 that perfect knowledge would;
at 0.09, which is what published cameras have, knowing the rows perfectly gains 0.02 dB, and taking
them from the picture loses as much: texture is mistaken for rows. Estimating them on what a first
denoising took away has the smaller error and costs more, as that error is smooth and stays.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
Array = NDArray[np.float64]

_NEAR = 8  # rows on each side
_ACROSS = 9  # columns
_EDGE = 0.6  # deviations of a pixel between both sides
_FAR = 3.0  # deviations beyond which a pixel counts no more
_GROUPS = 12
WORTH = 0.2  # of the picture's noise; less is better left to the denoiser


def row_offsets(
    planes: Tensor,
    gain: float,
    sigma: float,
    sigma_row: float,
    scale: float,
    covered: tuple[Array, float] | None = None,
) -> Array:
    """Offsets of the rows that planes R, G share, and of those that G, B share.

    Args:
        planes: (4, h, w) float32 on the CPU, 0 at black and 1 at white.
        gain: K in DN per electron.
        sigma: standard deviation of the read noise of a pixel, DN.
        sigma_row: standard deviation of the offsets, DN.
        scale: white minus black in DN.
        covered: (2, h) means of the covered columns of each row above their own mean, DN, and the
            standard error of one.

    Returns:
        (2, h) DN, to be subtracted.
    """
    found = np.zeros((2, planes.shape[1]))
    if sigma_row <= 0.0 or planes.shape[1] < 3 * _NEAR:
        return found
    for half in range(2):
        pair = [planes[2 * half + n].numpy() * np.float32(scale) for n in range(2)]
        parts = [_differences(plane, gain, sigma) for plane in pair]
        sums, weights = (np.concatenate([p[n] for p in parts], axis=1) for n in (0, 1))
        seen, error = _mean(sums, weights)
        if covered is not None:
            means, doubt = covered[0][half], covered[1] ** 2
            seen = (seen / error + means / doubt) / (1.0 / error + 1.0 / doubt)
            error = 1.0 / (1.0 / error + 1.0 / doubt)
        offset = seen * sigma_row**2 / (sigma_row**2 + error)
        np.clip(offset, -4.0 * sigma_row, 4.0 * sigma_row, out=offset)
        found[half] = offset
    return found


def take_off(planes: Tensor, offsets: Array, scale: float, clip: float) -> None:
    """Subtract offsets (2, h) in DN from planes in place; what is clipped stays clipped."""
    shares = torch.from_numpy((offsets / scale).astype(np.float32))
    for number, plane in enumerate(planes):
        plane -= torch.where(plane < 0.98 * clip, shares[number // 2][:, None], 0.0)


def _differences(plane: Floats, gain: float, sigma: float) -> tuple[Array, Array]:
    """Of each row and group of columns: weighted sum of the differences to both sides, and the sum
    of the weights, (h, groups).
    """
    height = plane.shape[0]
    border = cv2.BORDER_REFLECT_101
    boxes = cv2.blur(plane, (_ACROSS, _NEAR), anchor=(_ACROSS // 2, _NEAR // 2), borderType=border)
    rows = np.arange(height)
    # A box of rows i - 4 to i + 3 lies at i.
    above = boxes[np.abs(rows - _NEAR // 2)]
    low = rows + _NEAR // 2 + 1
    below = boxes[np.where(low >= height, 2 * (height - 1) - low, low)]
    local = 0.5 * (above + below)
    variance = gain * np.maximum(local, 0.0) + np.float32(sigma**2)
    deviation = np.sqrt(variance)
    weight = (np.abs(above - below) < _EDGE * deviation) / variance
    far = np.float32(_FAR) * deviation
    difference = np.clip(plane - local, -far, far)
    difference *= weight
    starts = np.linspace(0, plane.shape[1], _GROUPS, endpoint=False).astype(int)
    sums = np.add.reduceat(difference, starts, axis=1, dtype=np.float64)
    return sums, np.add.reduceat(weight, starts, axis=1, dtype=np.float64)


def _mean(sums: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted mean of each row, and the variance of its error by what the groups disagree."""
    total = np.maximum(weights.sum(axis=1), 1e-12)
    mean = sums.sum(axis=1) / total
    left = sums - weights * mean[:, None]
    groups = max(weights.shape[1], 2)
    spread = (left**2).sum(axis=1) / total**2 * groups / (groups - 1)
    half = min(_NEAR * 2, len(mean) - 1)
    window = np.ones(2 * half + 1) / (2 * half + 1)
    even = np.convolve(np.pad(spread, half, mode="reflect"), window, mode="valid")
    return mean, np.maximum(np.maximum(spread, even), 1.0 / total)
