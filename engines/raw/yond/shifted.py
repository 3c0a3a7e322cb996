"""Pixel shift: four pictures between which the sensor moved by a photosite, made one of three
colours a pixel, none of them interpolated.

Each picture is denoised by itself first. On mosaics with known truth that measures as well as
denoising what was put together, or better at high ISO: its greens are less noisy than its reds and
blues, which no one noise line says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.raw_facts import RawFacts, RawImage
from engines.raw.yond.frames import Shift

Floats = NDArray[np.float32]


class Merger:
    """Takes pictures one after the other."""

    def __init__(self, facts: RawFacts, shifts: Sequence[Shift], name: str) -> None:
        """Prepare for pictures of these facts and shifts.

        Raises:
            UserError: they do not see every place in every colour; `name` is the file's.
        """
        phases = {(row % 2, column % 2) for row, column in shifts}
        if facts.kind != "bayer" or len(phases) < 4:
            raise UserError(
                f"The pictures of {name} are shifted, and not so that each place was seen in every "
                "colour; take the first picture, or merge them in your RAW converter"
            )
        self._facts = facts
        rows, columns = ([shift[axis] for shift in shifts] for axis in (0, 1))
        self._top, self._left = max(0, -min(rows)), max(0, -min(columns))
        self._size = (
            facts.height - self._top - max(0, *rows), facts.width - self._left - max(0, *columns),
        )  # fmt: skip
        self._total = np.zeros((*self._size, 3), np.float32)
        self._count = np.zeros((2, 2, 3), np.float32)  # pictures by the place's parity and colour

    def add(self, mosaic: NDArray[np.float32] | NDArray[np.uint16], shift: Shift) -> None:
        """Add (H, W) levels of a picture, DN."""
        top, left = self._top + shift[0], self._left + shift[1]
        height, width = self._size
        part = mosaic[top : top + height, left : left + width]
        cell = self._facts.colour_cell
        for y in (0, 1):
            for x in (0, 1):
                colour = int(cell[(top + y) % 2, (left + x) % 2])
                self._total[y::2, x::2, colour] += part[y::2, x::2]
                self._count[y, x, colour] += 1.0

    def finish(self) -> Floats:
        """(h, w, 3) mean levels of what was added, DN; nothing can be added any more."""
        for y in (0, 1):
            for x in (0, 1):
                self._total[y::2, x::2] /= self._count[y, x]
        return self._total

    def facts(self) -> RawFacts:
        """Of the picture that comes out: three channels, no mosaic."""
        before = self._facts
        height, width = self._size
        black = np.asarray(before.black, np.float64).reshape(2, 2)
        levels = tuple(float(black[before.colour_cell == colour].mean()) for colour in range(3))
        crop = before.crop
        if crop is not None:
            left, top = max(crop[0] - self._left, 0), max(crop[1] - self._top, 0)
            crop = left, top, min(crop[2], width - left), min(crop[3], height - top)
        return replace(
            before, cfa="", channels=3, black=levels, width=width, height=height, crop=crop
        )


def as_image(facts: RawFacts, light: Floats) -> RawImage:
    """Levels as a file would hold them."""
    whole = np.clip(np.rint(light), 0.0, facts.white).astype(np.uint16)
    return RawImage(facts, whole)
