"""The charts in docs/, drawn from the figures that the benches printed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from engines.media.chart import SOFT, Axis, Chart
from studio.docs.tables import FIGURES, ROOT

_PASSES = {"blind, 1 pass": 1, "blind, 2 passes": 2}
_FAST, _BEST = "#1f6f8b", "#b3541e"


def raw_cost() -> Chart:
    """Lead of `raw.yond` over BM3D that is told the noise, against the work of a packed pixel.

    Mean of all conditions of `bench raw-quality`; a line goes from one pass to two.
    """
    document = json.loads((FIGURES / "raw-quality.json").read_text(encoding="utf-8"))
    found: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for row in document["rows"]:
        name, _, way = row["method"].partition(", ")
        if way in _PASSES:
            found[name, _PASSES[way]].append((row["kflop_a_packed_pixel"], row["lead_db"]))
    chart = Chart(Axis("kFLOP a packed pixel", 50.0, 500.0), Axis("lead over BM3D, dB", -0.1, 0.7))
    chart.line([(50.0, 0.0), (500.0, 0.0)], SOFT, 2)
    for name, colour in (("yond-snrnet-small", _FAST), ("yond-snrnet", _BEST)):
        points = [_mean(found[name, passes]) for passes in (1, 2)]
        chart.line(points, colour)
        for point in points:
            chart.dot(*point, colour, 5.0)
    chart.legend([(SOFT, "BM3D, told"), (_FAST, "fast, blind"), (_BEST, "best, blind")])
    return chart


CHARTS: dict[Path, Callable[[], Chart]] = {ROOT / "docs" / "raw-cost.png": raw_cost}


def _mean(points: list[tuple[float, float]]) -> tuple[float, float]:
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return x, y
