"""Small charts: dark ink on light paper, for the figures beside a result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 1040, 520
INK, SOFT = "#1c1c1c", "#5c5c5c"
_PAPER, _RULE = "#f9f9f9", "#dadada"
_OVERSAMPLE = 2  # drawn larger and reduced, for smooth lines and dots
_LEFT, _TOP, _RIGHT, _BOTTOM = 96, 56, 28, 66

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """One axis: what it says, where it begins and ends, and how it runs.

    Attributes:
        by_tens: by factors of ten; both ends are above 0.
        counts: it counts things, so that its ticks are whole numbers.
    """

    name: str
    start: float
    end: float
    by_tens: bool = False
    counts: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, from 0 at the start to 1 at the end."""
        if self.by_tens:
            low, high = math.log10(self.start), math.log10(self.end)
            return (math.log10(max(value, 1e-300)) - low) / (high - low)
        return (value - self.start) / (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round numbers along the axis, four to eight of them where it is linear."""
        if self.by_tens:
            low, high = math.ceil(math.log10(self.start)), math.floor(math.log10(self.end))
            return [10.0**power for power in range(low, high + 1)]
        raw = (self.end - self.start) / 6.0
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= raw)
        step = max(step, 1.0) if self.counts else step
        first, last = math.ceil(self.start / step - 1e-9), math.floor(self.end / step + 1e-9)
        return [step * n for n in range(first, last + 1)]


class Chart:
    """A picture with two axes; everything is given in their units, and cut off at their ends."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self._x, self._y = x, y
        size = WIDTH * _OVERSAMPLE, HEIGHT * _OVERSAMPLE
        self._picture = Image.new("RGB", size, _PAPER)
        self._draw = ImageDraw.Draw(self._picture)
        self._font = ImageFont.load_default(16 * _OVERSAMPLE)
        self._axes()

    def dot(self, x: float, y: float, colour: str, radius: float = 1.6) -> None:
        """A filled circle; nothing where it lies outside."""
        if self._inside((x, y)):
            across, down = self._place((x, y))
            reach = radius * _OVERSAMPLE
            box = (across - reach, down - reach, across + reach, down + reach)
            self._draw.ellipse(box, fill=colour)

    def line(self, points: Sequence[Point], colour: str, width: int = 3) -> None:
        """A line through points, cut off at the ends of the axes."""
        for start, end in pairwise(points):
            cut = self._cut(self._shares(start), self._shares(end))
            if cut is not None:
                self._stroke(self._at(cut[0]), self._at(cut[1]), colour, width)

    def legend(self, entries: Sequence[tuple[str, str]]) -> None:
        """(colour, text) of every series, above the chart."""
        x = float(WIDTH - _RIGHT)
        for colour, text in reversed(entries):
            width = self._font.getlength(text) / _OVERSAMPLE
            self._text((x * _OVERSAMPLE, 24 * _OVERSAMPLE), text, INK, "rm", (0, 0))
            start = (x - width - 34) * _OVERSAMPLE, 24 * _OVERSAMPLE
            end = (x - width - 10) * _OVERSAMPLE, 24 * _OVERSAMPLE
            self._stroke(start, end, colour, 3)
            x -= width + 58

    def save(self, path: Path) -> None:
        """Write the chart as PNG."""
        small = self._picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
        small.save(path, "PNG", optimize=True)

    def _axes(self) -> None:
        x, y = self._x, self._y
        for tick in y.ticks():
            ends = self._place((x.start, tick)), self._place((x.end, tick))
            self._stroke(*ends, _RULE, 1)
            self._text(ends[0], f"{tick:g}", SOFT, "rm", (-10, 0))
        for tick in x.ticks():
            self._text(self._place((tick, y.start)), f"{tick:g}", SOFT, "ma", (0, 9))
        foot = self._place((x.start, y.start)), self._place((x.end, y.start))
        self._stroke(*foot, SOFT, 1)
        self._text(foot[1], x.name, INK, "ra", (0, 34))
        self._text(self._place((x.start, y.end)), y.name, INK, "ls", (-74, -24))

    def _shares(self, point: Point) -> Point:
        return self._x.share(point[0]), self._y.share(point[1])

    def _inside(self, point: Point) -> bool:
        return all(0.0 <= share <= 1.0 for share in self._shares(point))

    def _place(self, point: Point) -> Point:
        return self._at(self._shares(point))

    def _at(self, shares: Point) -> Point:
        across = _LEFT + (WIDTH - _LEFT - _RIGHT) * shares[0]
        down = HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * shares[1]
        return across * _OVERSAMPLE, down * _OVERSAMPLE

    def _cut(self, start: Point, end: Point) -> tuple[Point, Point] | None:
        """The part of a stroke that lies within the axes (Liang and Barsky), None for nothing."""
        first, last = 0.0, 1.0
        for side in (0, 1):
            move = end[side] - start[side]
            for bound, sign in ((0.0, -1.0), (1.0, 1.0)):
                room = sign * (bound - start[side])
                if move == 0.0:
                    if room < 0.0:
                        return None
                elif sign * move > 0.0:
                    last = min(last, room / (sign * move))
                else:
                    first = max(first, room / (sign * move))
        if first > last:
            return None

        def along(share: float) -> Point:
            across, up = end[0] - start[0], end[1] - start[1]
            return start[0] + share * across, start[1] + share * up

        return along(first), along(last)

    def _stroke(self, start: Point, end: Point, colour: str, width: int) -> None:
        self._draw.line((*start, *end), fill=colour, width=width * _OVERSAMPLE)

    def _text(self, at: Point, text: str, colour: str, anchor: str, by: tuple[int, int]) -> None:
        place = at[0] + by[0] * _OVERSAMPLE, at[1] + by[1] * _OVERSAMPLE
        self._draw.text(place, text, fill=colour, font=self._font, anchor=anchor)
