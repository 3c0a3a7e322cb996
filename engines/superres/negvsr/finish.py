"""From the network's frames to those of a film: size, strength, rounding; pictures to compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engines.base import Comparison
from engines.media.video_facts import VideoFacts
from engines.media.video_read import Pixels
from engines.superres.rows import Enlarged, Levels, Resizing, Source, pump

_LONGEST = 4096  # pixels of a picture for comparing; of a larger frame it shows the middle
_THUMBNAIL = 320


class Finish:
    """A `engines.superres.rows.Sink` that makes a frame, blended with its Lanczos enlargement."""

    def __init__(self, plain: Source, strength: float, like: Pixels) -> None:
        """`plain` has the frame's size; `like` is of the type that the frame will have."""
        height, width = plain.size
        self.pixels: Any = np.empty((height, width, 3), like.dtype)
        self._plain, self._strength = plain, strength
        self._white = float(np.iinfo(like.dtype).max)
        self._done = 0

    def take(self, rows: Tensor) -> None:
        """See `Sink`."""
        end = self._done + rows.shape[1]
        if self._strength < 1.0:
            plain = self._plain.window(self._done, end, 0, self._plain.size[1])
            rows = plain + self._strength * (rows - plain)
        levels = torch.round(rows * self._white).clamp_(0.0, self._white)
        self.pixels[self._done : end] = levels.permute(1, 2, 0).numpy().astype(self.pixels.dtype)
        self._done = end

    def close(self) -> None:
        """See `Sink`."""


def finished(made: Source | None, given: Pixels, size: tuple[int, int], strength: float) -> Pixels:
    """A frame of the new film.

    Args:
        made: the network's; None is its Lanczos enlargement alone.
        given: (h, w, 3) the film's.
        size: (height, width) wanted.
        strength: share of the network's.
    """
    plain = Enlarged(Levels(given, float(np.iinfo(given.dtype).max)), size, "lanczos")
    if made is None:
        finish = Finish(plain, 1.0, given)
        pump(plain, finish, lambda: None)
    else:
        finish = Finish(plain, strength, given)
        pump(made, Resizing(made.size, size, "lanczos", finish), lambda: None)
    return finish.pixels


def compared(given: Pixels, made: Pixels, facts: VideoFacts, stem: Path) -> tuple[Comparison, Path]:
    """Write a frame before (Lanczos) and after, and a thumbnail, upright as a player shows it.

    The files' names begin with `stem`.
    """
    height, width = made.shape[:2]
    plain = finished(None, given, (height, width), 1.0)
    top, left = max(height - _LONGEST, 0) // 2, max(width - _LONGEST, 0) // 2
    paths: list[Path] = []
    picture = upright(made, facts)
    for side, pixels in (("before", upright(plain, facts)), ("after", picture)):
        path = stem.with_name(f"{stem.name}.{side}.jpg")
        part = pixels[top : pixels.shape[0] - top, left : pixels.shape[1] - left]
        Image.fromarray(part).save(path, "JPEG", quality=92, subsampling=0)
        paths.append(path)
    factor = min(_THUMBNAIL / max(height, width), 1.0)
    size = [max(round(side * factor), 1) for side in picture.shape[1::-1]]
    small = stem.with_name(f"{stem.name}.thumbnail.jpg")
    Image.fromarray(np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))).save(
        small, "JPEG", quality=85
    )
    label = "A frame from the middle, before and after"
    return Comparison(paths[0], paths[1], "image", label), small


def upright(pixels: Pixels, facts: VideoFacts) -> Any:
    """(h, w, 3) uint8 of a frame, turned and mirrored as its film says."""
    eight = (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    if facts.turned is None:
        return eight
    a, b, c, d = (int(np.sign(one)) if abs(one) > 1 << 14 else 0 for one in facts.turned)
    if a == 0 and d == 0 and b and c:  # what lay along rows goes down now
        return _mirrored(eight.transpose(1, 0, 2), down=b < 0, across=c < 0)
    return _mirrored(eight, down=d < 0, across=a < 0)


def _mirrored(pixels: Any, *, down: bool, across: bool) -> Any:
    pixels = pixels[::-1] if down else pixels
    pixels = pixels[:, ::-1] if across else pixels
    return np.ascontiguousarray(pixels)
