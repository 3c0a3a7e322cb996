"""The figure beside a result: how often each brightness occurs, before and after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.base import Figure
from engines.media.chart import Axis, Chart

BINS = 64
_BEFORE, _AFTER = "#b5651d", "#0d4a55"


def draw_histogram(path: Path, before: NDArray[np.int64], after: NDArray[np.int64]) -> Figure:
    """Draw two histograms of encoded luminance.

    Args:
        path: PNG to write.
        before: (BINS,) pixels.
        after: likewise.
    """
    shares = [100.0 * one / max(int(one.sum()), 1) for one in (before, after)]
    # One bin of a dark picture may hold nearly all of it; the rest is to be seen all the same.
    top = float(np.clip(1.1 * max(shares[1].max(), np.sort(shares[0])[-3]), 1.0, 100.0))
    chart = Chart(Axis("brightness (% of white, as encoded)", 0, 100), Axis("pixels (%)", 0, top))
    for share, colour in zip(shares, (_BEFORE, _AFTER), strict=True):
        places = (np.arange(BINS) + 0.5) * 100.0 / BINS
        line = zip(places.tolist(), share.tolist(), strict=True)
        chart.line([(place, min(value, top)) for place, value in line], colour)
    chart.legend([(_BEFORE, "before"), (_AFTER, "after")])
    chart.save(path)
    return Figure(
        path, "Histogram", "How many pixels have each brightness, before and after", chart=True
    )
