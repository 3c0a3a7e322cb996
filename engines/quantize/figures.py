"""Charts beside a quantized model: the error of every layer, and loss over size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from engines.base import Figure
from engines.media.chart import Axis, Chart
from engines.quantize.mixed import Front, Option
from engines.quantize.scratch import BlockReport

_PARTS = ("#0d4a55", "#b5651d", "#3f8f9c", "#8a4f7d", "#6b7d2a", "#c4a000", "#5c5c5c")
_THUMBNAIL = 320  # pixels of the longer side
_BEST, _UNIFORM, _CHOSEN = "#0d4a55", "#b5651d", "#a02020"


def draw_errors(path: Path, blocks: Sequence[BlockReport]) -> Figure:
    """Relative error of every layer's output over the depth of the model, a line for each part."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for number, block in enumerate(blocks):
        for layer in block.layers:
            part = layer.name.rpartition(".")[2]
            lines.setdefault(part, []).append((number, max(layer.error, 1e-9)))
    errors = [error for points in lines.values() for _, error in points]
    chart = Chart(
        Axis("block", 0.0, max(len(blocks) - 1, 1), counts=True),
        Axis("relative squared error", *decades(errors), by_tens=True),
    )
    for colour, points in zip(_cycled(len(lines)), lines.values(), strict=True):
        chart.line(points, colour, width=2)
        for number, error in points:
            chart.dot(number, error, colour, radius=3.0)
    chart.legend(list(zip(_cycled(len(lines)), lines, strict=True)))
    chart.save(path)
    worst = max((layer for block in blocks for layer in block.layers), key=lambda one: one.error)
    return Figure(
        path,
        "Error of every layer",
        f"Squared error of each layer's output relative to the output, by block; the largest is "
        f"{worst.error:.2g} in {worst.name}",
        chart=True,
    )


def draw_front(
    path: Path, front: Front, uniform: Mapping[int, Sequence[Option]], place: int, weights: int
) -> Figure:
    """Predicted rise of the loss over bits a weight: mixtures, one width for all, and the choice.

    Args:
        path: PNG to write.
        front: of the model.
        uniform: bits -> the option of that width of every layer.
        place: the assignment that was chosen.
        weights: number of weights that are quantized.
    """
    bits, costs = front.sizes / weights, np.maximum(front.costs, 1e-9)
    ones = sorted(
        (sum(o.size for o in options) / weights, max(sum(o.cost for o in options), 1e-9))
        for options in uniform.values()
    )
    chart = Chart(
        Axis("bits a weight", 2.0, float(np.ceil(bits[-1]))),
        Axis("predicted rise of the loss (nats a token)", *decades(costs), by_tens=True),
    )
    chart.line(list(zip(bits, costs, strict=True)), _BEST)
    for size, cost in ones:
        chart.dot(size, cost, _UNIFORM, radius=6.0)
    chart.dot(float(bits[place]), float(costs[place]), _CHOSEN, radius=7.0)
    chart.legend(
        [(_BEST, "best mixtures"), (_UNIFORM, "one width for all"), (_CHOSEN, "this model")]
    )
    chart.save(path)
    return Figure(
        path,
        "Loss over size",
        f"Predicted rise of the loss over bits a weight; this model has {bits[place]:.2f}",
        chart=True,
    )


def decades(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Powers of ten that hold all values."""
    low, high = np.log10(np.min(values)), np.log10(np.max(values))
    return 10.0 ** float(np.floor(low)), 10.0 ** float(max(np.ceil(high), np.floor(low) + 1))


def thumbnail(picture: Path, path: Path) -> Path:
    """Write a small JPEG of a picture."""
    with Image.open(picture) as whole:
        small = whole.convert("RGB")
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    small.save(path, "JPEG", quality=85)
    return path


def _cycled(count: int) -> list[str]:
    return [_PARTS[number % len(_PARTS)] for number in range(count)]
