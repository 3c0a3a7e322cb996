"""Pictures for the page, before and after, and a thumbnail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines.media.picture_facts import Pixels

_WHOLE = 36_000_000  # pixels; a larger picture is shown smaller
_THUMBNAIL = 320
_BACKDROP = 192.0  # grey behind transparent pictures
_ROWS = 256


@dataclass(frozen=True)
class Side:
    """One side of a comparison: (H, W, 1 or 3) levels, (H, W) alpha or None, ICC profile."""

    pixels: Pixels
    alpha: Pixels | None
    icc: bytes | None


def shown(side: Side, path: Path) -> Path:
    """Write a picture as an 8-bit JPEG of its own size, or of 36 megapixels."""
    height, width = side.pixels.shape[:2]
    return _write(side, path, math.ceil(math.sqrt(height * width / _WHOLE)), 92)


def thumbnail(side: Side, path: Path) -> Path:
    """Write a JPEG of at most 320 pixels along its longer side."""
    height, width = side.pixels.shape[:2]
    step = max(max(height, width) // (4 * _THUMBNAIL), 1)
    return _write(side, path, step, 85, _THUMBNAIL)


def _write(side: Side, path: Path, step: int, quality: int, longest: int = 0) -> Path:
    picture = _eight(side, step)
    factor = longest / max(picture.shape[:2])
    if 0.0 < factor < 1.0:
        size = [max(round(one * factor), 1) for one in picture.shape[1::-1]]
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        picture = small.reshape(size[1], size[0], -1).astype(np.uint8)
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    image.save(path, "JPEG", quality=quality, subsampling=0, icc_profile=side.icc)
    return path


def _eight(side: Side, step: int) -> NDArray[np.uint8]:
    """Every `step`th pixel with 8 bits, on grey where it is transparent."""
    pixels = side.pixels[::step, ::step]
    full = float(np.iinfo(pixels.dtype).max)
    out = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(pixels), _ROWS):
        part = pixels[top : top + _ROWS] * np.float32(255.0 / full)
        if side.alpha is not None:
            rows = side.alpha[::step, ::step][top : top + _ROWS, :, None]
            cover = rows / np.float32(np.iinfo(side.alpha.dtype).max)
            part = part * cover + np.float32(_BACKDROP) * (1.0 - cover)
        out[top : top + _ROWS] = np.rint(part)
    return out
