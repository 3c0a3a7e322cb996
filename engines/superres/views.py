"""Pictures for the page: before and after at the result's size, and a thumbnail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines.base import Comparison
from engines.media.picture_facts import PictureFacts, Pixels
from engines.superres.rows import Enlarged, Source, strips

_WHOLE_PIXELS = 36_000_000  # a larger result is compared by a part of it
_WHOLE_SIDE = 16_000
_PART = 4096
_THUMBNAIL = 320
_BACKDROP = 192.0  # grey behind transparent pictures
_SEARCHED = 1024  # pixels of the input's longer side in which detail is looked for


@dataclass(frozen=True)
class Shown:
    """A result that is to be shown.

    Attributes:
        pixels: (H, W, C) levels.
        white: level that is white.
        alpha: (H, W), full scale of its type being opaque, or None.
        facts: of the input.
    """

    pixels: Pixels
    white: float
    alpha: Pixels | None
    facts: PictureFacts

    def eight_bits(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.uint8]:
        """A part as (h, w, 1 or 3) uint8."""
        return self.on_grey(self.pixels[top:bottom, left:right], 255.0 / self.white, top, left)

    def on_grey(
        self, levels: NDArray, gain: float, top: int, left: int, step: int = 1
    ) -> NDArray[np.uint8]:
        """Some levels as uint8, on grey where the result is transparent, made in strips.

        Args:
            levels: (h, w, C) of any type.
            gain: what they are multiplied by.
            top: place of the first in the result.
            left: likewise.
            step: every how many pixels of the result there is one.
        """
        height, width = levels.shape[:2]
        out = np.empty((height, width, 3 if levels.shape[2] >= 3 else 1), np.uint8)
        for begin, end in strips(0, height, width * out.shape[2]):
            part = levels[begin:end, :, : out.shape[2]] * np.float32(gain)
            if self.alpha is not None:
                rows = slice(top + begin * step, top + end * step, step)
                share = self.alpha[rows, left : left + width * step : step]
                share = (share / np.float32(np.iinfo(share.dtype).max))[:, :, None]
                part = part * share + _BACKDROP * (1.0 - share)
            out[begin:end] = np.rint(part).clip(0, 255)
        return out

    def write(self, path: Path, picture: NDArray[np.uint8], quality: int) -> None:
        """Write a JPEG in the input's colour space."""
        grey = picture.shape[2] == 1
        icc = self.facts.icc if grey == (self.facts.channels == 1) else None
        Image.fromarray(picture[:, :, 0] if grey else picture).save(
            path, "JPEG", quality=quality, subsampling=0, icc_profile=icc
        )


def compare(source: Source, result: Shown, stem: Path) -> Comparison:
    """Write before (Lanczos of `source`) and after as JPEG files whose names begin with `stem`."""
    height, width = result.pixels.shape[:2]
    top, bottom, left, right = _part(source, height, width)
    paths = [stem.with_name(f"{stem.name}.{part}.jpg") for part in ("before", "after")]
    plain = Enlarged(source, (height, width), "lanczos")
    before = [
        result.on_grey(
            plain.window(begin, end, left, right).permute(1, 2, 0).numpy(), 255.0, begin, left
        )
        for begin, end in strips(top, bottom, (right - left) * source.channels)
    ]
    result.write(paths[0], np.concatenate(before), quality=92)
    del before
    result.write(paths[1], result.eight_bits(top, bottom, left, right), quality=92)
    whole = (bottom - top, right - left) == (height, width)
    label = "Before and after" if whole else "Before and after where most detail is"
    return Comparison(paths[0], paths[1], "image", label)


def thumbnail(result: Shown, path: Path) -> Path:
    """Write a small JPEG of the result."""
    height, width = result.pixels.shape[:2]
    step = max(max(height, width) // (4 * _THUMBNAIL), 1)
    picture = result.on_grey(result.pixels[::step, ::step], 255.0 / result.white, 0, 0, step)
    factor = min(_THUMBNAIL / max(picture.shape[:2]), 1.0)
    size = [max(round(side * factor), 1) for side in picture.shape[1::-1]]
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    result.write(path, small.reshape(size[1], size[0], -1).astype(np.uint8), quality=85)
    return path


def _part(source: Source, height: int, width: int) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of what is compared: all, or where the input has most detail."""
    if height * width <= _WHOLE_PIXELS and max(height, width) <= _WHOLE_SIDE:
        return 0, height, 0, width
    high, wide = min(_PART, height), min(_PART, width)
    h, w = source.size
    step = max(max(h, w) // _SEARCHED, 1)
    lines = np.stack(
        [source.window(y, y + 1, 0, w)[:, 0, ::step].mean(0).numpy() for y in range(0, h, step)]
    )
    detail = np.abs(np.diff(lines, axis=1, append=lines[:, -1:]))
    detail += np.abs(np.diff(lines, axis=0, append=lines[-1:]))
    box = (max(round(wide / width * lines.shape[1]), 1), max(round(high / height * len(lines)), 1))
    mean = cv2.blur(detail, box)
    y, x = divmod(int(mean.argmax()), lines.shape[1])
    top = round((y + 0.5) / len(lines) * height - high / 2)
    left = round((x + 0.5) / lines.shape[1] * width - wide / 2)
    top, left = min(max(top, 0), height - high), min(max(left, 0), width - wide)
    return top, top + high, left, left + wide
