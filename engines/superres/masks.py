"""What is not picture: transparency, and pixels that a satellite did not measure.

Networks see no hole: its pixels take the colour of the nearest pixel that has one, so that nothing
of the hole's own colour (often black) gets into an edge.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engines.media.picture_facts import Pixels
from engines.superres.rows import Enlarged, Levels, strips


def filled(pixels: Pixels, holes: NDArray[np.bool_]) -> Pixels:
    """A copy of (H, W, C) pixels in which holes have the colour of the nearest other pixel."""
    if not holes.any() or holes.all():
        return pixels
    # Every pixel that is no hole gets a number, and every hole that of the nearest.
    _, found = cv2.distanceTransformWithLabels(
        holes.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = np.asarray(found, dtype=np.int32)
    places = np.zeros(int(labels.max()) + 1, dtype=np.int64)
    places[labels[~holes]] = np.flatnonzero(~holes)
    out = pixels.copy()
    out[holes] = pixels.reshape(-1, pixels.shape[2])[places[labels[holes]]]
    return out


def unmeasured(pixels: Pixels, nodata: float) -> NDArray[np.bool_]:
    """(H, W) where all channels have the value of pixels that were not measured."""
    return np.all(pixels == nodata, axis=2)


def enlarged_alpha(alpha: Pixels, target: tuple[int, int], bits: int, path: Path) -> Pixels:
    """Alpha at another size, by Lanczos, in samples of 8 or 16 bits; a mapping of `path`."""
    source = Enlarged(
        Levels(alpha[:, :, None], float(np.iinfo(alpha.dtype).max)), target, "lanczos"
    )
    dtype = np.dtype(np.uint16 if bits == 16 else np.uint8)
    with path.open("wb") as file:
        for top, bottom in strips(0, target[0], target[1]):
            rows = source.window(top, bottom, 0, target[1])[0].clamp(0.0, 1.0)
            file.write(torch.round(rows * (2**bits - 1)).numpy().astype(dtype).data)
    return np.memmap(path, dtype, "r", shape=target)


def nearest(size: int, target: int) -> NDArray[np.int64]:
    """(target,) which of `size` pixels each pixel of the result lies in."""
    return ((np.arange(target) + 0.5) * (size / target)).astype(np.int64).clip(max=size - 1)
