"""What the report of a quantized model says of its layers, for one model or two side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from studio.jobs.views import JobView

_REPORT = 4 << 20  # bytes; a longer one is for downloading
_MOST = 600
_NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Layer:
    """One layer: bits a weight, and the squared error of its output relative to the output."""

    name: str
    bits: float
    error: float

    @property
    def part(self) -> str:
        """What it is in its block, such as q_proj."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Beside:
    """Two reports; a row is a name, then bits and error of the one and of the other.

    Attributes:
        said: how many layers lose less in which of them.
        parts: by kind of layer, means of all blocks.
        layers: each for itself.
    """

    said: str
    parts: Sequence[Sequence[str]]
    layers: Sequence[Sequence[str]]


def layers_of(job: JobView) -> list[Layer]:
    """The first layers of a job's report.json; none where it has no such report."""
    file = next((one for one in job.outputs if one.name.endswith("report.json")), None)
    try:
        if file is None or file.missing or file.path.stat().st_size > _REPORT:
            return []
        found: Any = json.loads(file.path.read_text(encoding="utf-8"))["layers"]
        return [
            Layer(str(one["name"]), float(one["bits"]), float(one["error"]))
            for one in found[:_MOST]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def layers_beside(first: JobView, second: JobView, names: tuple[str, str]) -> Beside | None:
    """Two results' layers; None where either has no report of them."""
    left, right = layers_of(first), layers_of(second)
    if not left or not right:
        return None
    one, other = ({layer.name: layer for layer in side} for side in (left, right))
    both = [(one[name], other[name]) for name in one if name in other]
    less = [sum(a.error < b.error for a, b in both), sum(b.error < a.error for a, b in both)]
    words = [
        f"{count} of {len(both)} layers lose less in {name}"
        for count, name in zip(less, names, strict=True)
    ]
    parts = dict.fromkeys(layer.part for layer in (*left, *right))
    return Beside(
        ", ".join(words),
        [(part, *_mean(left, part), *_mean(right, part)) for part in parts],
        [
            (name, *_cells(one.get(name)), *_cells(other.get(name)))
            for name in dict.fromkeys((*one, *other))
        ],
    )


def _mean(layers: Sequence[Layer], part: str) -> tuple[str, str]:
    found = [layer for layer in layers if layer.part == part]
    if not found:
        return _cells(None)
    return _cells(Layer(part, fmean(one.bits for one in found), fmean(one.error for one in found)))


def _cells(layer: Layer | None) -> tuple[str, str]:
    return (_NOTHING, _NOTHING) if layer is None else (f"{layer.bits:.2f}", f"{layer.error:.3g}")
