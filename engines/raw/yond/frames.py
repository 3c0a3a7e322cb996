"""Several pictures of one scene in one file (bursts): their mean, where they lie on one another.

The mean is taken before denoising, and denoised as one picture with less noise: that keeps more
detail than the mean of denoised pictures, each of which has lost the same fine parts.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Job, UserError
from engines.media.raw_facts import RawImage
from engines.media.raw_file import read_raw

_APART = 0.35  # pixels between two pictures that still count as one place
_SURE = 0.05  # of a correlation's peak; below it nothing is known of a shift
_BRIGHTER = 0.1


def averaged(raw: RawImage, path: Path, job: Job) -> NDArray[np.float32]:
    """The mean of all pictures of a file, DN, of its shape.

    Args:
        raw: its first picture.
        path: the file.
        job: for progress from 0 to 3, and cancelling.

    Raises:
        UserError: they do not show the same, so a mean would be blurred or ghosted.
    """
    count = raw.facts.frames
    total = raw.mosaic.astype(np.float32)
    first = _cells(raw)
    for number in range(1, count):
        job.progress(3 * number / count, 100, f"reading picture {number + 1} of {count}")
        job.check_cancelled()
        other = read_raw(path, number)
        _check(first, _cells(other), number, path)
        total += other.mosaic
    total /= count
    return total


def _cells(raw: RawImage) -> NDArray[np.float32]:
    """Means of cells above black, square-rooted so that bright parts do not count for all."""
    side = max(raw.facts.black_cell.shape[0], 2)
    rows, columns = raw.facts.height // side, raw.facts.width // side
    samples = raw.mosaic if raw.mosaic.ndim == 2 else raw.mosaic[:, :, 1]
    whole = samples[: rows * side, : columns * side].astype(np.float32)
    mean = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    above = np.maximum(mean - np.float32(np.mean(raw.facts.black)), np.float32(0.0))
    return np.sqrt(above)


def _check(first: NDArray[np.float32], other: NDArray[np.float32], number: int, path: Path) -> None:
    """Raise `UserError` if the two are shifted against each other, or of other brightness."""
    light = [float(np.square(one).mean()) for one in (first, other)]
    if abs(light[1] - light[0]) > _BRIGHTER * max(light):
        raise UserError(
            f"The pictures in {path.name} differ in brightness, as in an exposure series; take the "
            "first picture, or merge them in your RAW converter"
        )
    window = cv2.createHanningWindow((first.shape[1], first.shape[0]), cv2.CV_32F)
    (dx, dy), peak = cv2.phaseCorrelate(first, other, window)
    if peak > _SURE and math.hypot(dx, dy) > _APART / 2:
        raise UserError(
            f"Picture {number + 1} in {path.name} is shifted against the first (pixel shift, or a "
            "moved camera), so their mean would be blurred; take the first picture, or merge them "
            "in your RAW converter"
        )
