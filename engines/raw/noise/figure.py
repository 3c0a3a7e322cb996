"""The figure beside a result: variances of blocks over their means, and the lines through them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.base import Figure
from engines.media.chart import Axis, Chart
from engines.raw.noise.estimate import NoiseEstimate

_FLAT, _TEXTURED = "#3f8f9c", "#c4c4c4"
_FIRST, _LAST = "#b5651d", "#0d4a55"

Array = NDArray[np.float64]


def draw_noise_figure(
    path: Path, first: NoiseEstimate, last: NoiseEstimate | None, *, told: bool = False
) -> Figure:
    """Draw the cloud with the line of the first estimate, and of the refined one if there is one.

    Args:
        path: PNG to write.
        first: estimate on the noisy picture alone.
        last: refined estimate, or None where only one was made.
        told: the first one's line was given, by hand or by a profile, and not measured.
    """
    shown = last if last is not None else first
    right, top = _extent(shown)
    chart = Chart(Axis("mean above black (DN)", 0.0, right), Axis("variance (DN^2)", 0.0, top))
    order = np.argsort(shown.flat)
    for mean, variance, flat in zip(
        shown.means[order], shown.variances[order], shown.flat[order], strict=True
    ):
        chart.dot(mean, variance, _FLAT if flat > 0.5 else _TEXTURED)
    name = "as given" if told else "measured on the picture"
    lines = [(_LAST if last is None else _FIRST, name, first)]
    if last is not None:
        lines.append((_LAST, "after refinement", last))
    for colour, _, estimate in lines:
        ends = (0.0, right)
        chart.line([(mean, float(estimate.variance(mean))) for mean in ends], colour)
    chart.legend([(colour, f"{name}: {_words(one)}") for colour, name, one in lines])
    chart.save(path)
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
