"""The figure beside a result: variances of blocks over their means, and the lines through them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engines.base import Figure
from engines.raw.noise.estimate import NoiseEstimate

_WIDTH, _HEIGHT = 1040, 520
_OVERSAMPLE = 2  # drawn larger and reduced, for smooth lines and dots
_LEFT, _TOP, _RIGHT, _BOTTOM = 96, 56, 28, 66
_PAPER, _INK, _SOFT, _GRID = "#f9f9f9", "#1c1c1c", "#5c5c5c", "#dadada"
_FLAT, _TEXTURED = "#3f8f9c", "#c4c4c4"
_FIRST, _LAST = "#b5651d", "#0d4a55"

Array = NDArray[np.float64]


def draw_noise_figure(path: Path, first: NoiseEstimate, last: NoiseEstimate | None) -> Figure:
    """Draw the cloud with the line of the first estimate, and of the refined one if there is one.

    Args:
        path: PNG to write.
        first: estimate on the noisy picture alone.
        last: refined estimate, or None where only one was made.
    """
    shown = last if last is not None else first
    canvas = _Canvas(*_extent(shown))
    canvas.axes("mean above black (DN)", "variance (DN^2)")
    order = np.argsort(shown.flat)
    for mean, variance, flat in zip(
        shown.means[order], shown.variances[order], shown.flat[order], strict=True
    ):
        canvas.dot(mean, variance, _FLAT if flat > 0.5 else _TEXTURED)
    lines = [(_LAST if last is None else _FIRST, "measured on the picture", first)]
    if last is not None:
        lines.append((_LAST, "after refinement", last))
    for colour, _, estimate in lines:
        canvas.line(estimate, colour)
    canvas.legend([(colour, f"{name}: {_words(one)}") for colour, name, one in lines])
    canvas.save(path)
    return Figure(
        path,
        "Noise over brightness",
        f"Variance of small areas over their mean; the noise line has {_words(shown)}",
        chart=True,
    )


def _words(estimate: NoiseEstimate) -> str:
    return f"K {estimate.K:.3g} DN/e-, sigma {estimate.sigma:.3g} DN"


def _extent(estimate: NoiseEstimate) -> tuple[float, float]:
    """Largest mean and variance that are drawn: texture may reach far above the line."""
    top = float(np.quantile(estimate.means, 0.995)) if estimate.means.size else 1.0
    top = max(top, 1e-3)
    line = float(estimate.variance(top))
    flat = estimate.variances[estimate.flat > 0.5]
    cloud = float(np.quantile(flat, 0.99)) if flat.size else 0.0
    return 1.04 * top, max(1.6 * line, min(1.2 * cloud, 3.0 * line), 1e-6)


def _ticks(top: float) -> list[float]:
    """Round numbers from 0 to `top`, four to eight of them."""
    raw = top / 6.0
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= raw)
    return [step * n for n in range(int(top / step) + 1)]


class _Canvas:
    """A picture with linear axes from 0 to `x_top` and `y_top`."""

    def __init__(self, x_top: float, y_top: float) -> None:
        self._tops = x_top, y_top
        size = _WIDTH * _OVERSAMPLE, _HEIGHT * _OVERSAMPLE
        self._picture = Image.new("RGB", size, _PAPER)
        self._draw = ImageDraw.Draw(self._picture)
        self._font = ImageFont.load_default(16 * _OVERSAMPLE)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (_WIDTH - _LEFT - _RIGHT) * x / self._tops[0]
        down = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * y / self._tops[1]
        return across * _OVERSAMPLE, down * _OVERSAMPLE

    def axes(self, x_name: str, y_name: str) -> None:
        for tick in _ticks(self._tops[1]):
            self._stroke(self._place(0, tick), self._place(self._tops[0], tick), _GRID, 1)
            self._text(self._place(0, tick), f"{tick:g}", _SOFT, "rm", (-10, 0))
        for tick in _ticks(self._tops[0]):
            self._text(self._place(tick, 0), f"{tick:g}", _SOFT, "ma", (0, 9))
        self._stroke(self._place(0, 0), self._place(self._tops[0], 0), _SOFT, 1)
        self._text(self._place(self._tops[0], 0), x_name, _INK, "ra", (0, 34))
        self._text(self._place(0, self._tops[1]), y_name, _INK, "ls", (-74, -24))

    def dot(self, mean: float, variance: float, colour: str) -> None:
        if 0.0 <= mean <= self._tops[0] and 0.0 <= variance <= self._tops[1]:
            x, y = self._place(mean, variance)
            radius = 1.6 * _OVERSAMPLE
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def line(self, estimate: NoiseEstimate, colour: str) -> None:
        end = self._tops[0]
        if float(estimate.variance(end)) > self._tops[1]:
            end = (self._tops[1] - estimate.sigma**2) / estimate.K
        if end > 0.0:
            ends = (float(estimate.variance(0.0)), float(estimate.variance(end)))
            self._stroke(self._place(0.0, ends[0]), self._place(end, ends[1]), colour, 3)

    def legend(self, entries: Sequence[tuple[str, str]]) -> None:
        x = float(_WIDTH - _RIGHT)
        for colour, text in reversed(entries):
            width = self._font.getlength(text) / _OVERSAMPLE
            self._text((x * _OVERSAMPLE, 24 * _OVERSAMPLE), text, _INK, "rm", (0, 0))
            start = (x - width - 34) * _OVERSAMPLE, 24 * _OVERSAMPLE
            end = (x - width - 10) * _OVERSAMPLE, 24 * _OVERSAMPLE
            self._stroke(start, end, colour, 3)
            x -= width + 58

    def save(self, path: Path) -> None:
        small = self._picture.resize((_WIDTH, _HEIGHT), Image.Resampling.BOX)
        small.save(path, "PNG", optimize=True)

    def _stroke(
        self, start: tuple[float, float], end: tuple[float, float], colour: str, width: int
    ) -> None:
        self._draw.line((*start, *end), fill=colour, width=width * _OVERSAMPLE)

    def _text(
        self, at: tuple[float, float], text: str, colour: str, anchor: str, by: tuple[int, int]
    ) -> None:
        place = at[0] + by[0] * _OVERSAMPLE, at[1] + by[1] * _OVERSAMPLE
        self._draw.text(place, text, fill=colour, font=self._font, anchor=anchor)
