"""The report's plots, as the ELD paper has them: photon transfer, quantiles, laws over K."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from engines.base import Figure
from engines.media.chart import SOFT, Axis, Chart
from engines.raw.calibrate.darks import DarkNoise
from engines.raw.calibrate.flats import Gain
from engines.raw.noise.profile import CameraProfile

_COLOURS = ("#0d4a55", "#b5651d", "#3f8f9c", "#7a3b69")
_TITLES = {"sigma_tl": "read noise (Tukey scale)", "sigma_row": "row noise"}


def _some(keys: Sequence[float], most: int = len(_COLOURS)) -> list[float]:
    """At most so many, from the first to the last."""
    count = min(len(keys), most)
    return [keys[round(n * (len(keys) - 1) / max(count - 1, 1))] for n in range(count)]


def draw_gain(path: Path, gains: Mapping[float, Gain]) -> Figure:
    """Variance over mean of the flat frames, by factors of ten, with the fitted lines."""
    points = np.concatenate([gain.points for gain in gains.values()])
    points = points[points.min(axis=1) > 0.0]
    low, high = points.min(axis=0) / 1.5, points.max(axis=0) * 1.5
    chart = Chart(
        Axis("mean above black (DN)", float(low[0]), float(high[0]), by_tens=True),
        Axis("variance (DN^2)", float(low[1]), float(high[1]), by_tens=True),
    )
    shown = _some(list(gains))
    legend: list[tuple[str, str]] = []
    for colour, iso in zip(_COLOURS, shown, strict=False):
        gain = gains[iso]
        for mean, variance in gain.points:
            chart.dot(mean, variance, colour, 3.0)
        along = np.geomspace(low[0], high[0], 60)
        chart.line([(x, max(gain.K * x + gain.floor, 1e-9)) for x in along], colour)
        legend.append((colour, f"ISO {iso:.0f}: K {gain.K:.3g}"))
    chart.legend(legend)
    chart.save(path)
    words = ", ".join(f"ISO {iso:.0f} {g.K:.3g} DN/e-, R2 {g.r2:.4f}" for iso, g in gains.items())
    return Figure(
        path, "Photon transfer", f"Variance over mean of the flat frames; K is {words}", chart=True
    )


def draw_quantiles(path: Path, darks: Mapping[float, DarkNoise]) -> Figure:
    """Measured quantiles over those of the fitted law, in units of the noise; a straight line is a
    perfect fit. The law that a Gaussian would follow is drawn for the highest setting.
    """
    shown = _some(list(darks), 3)
    plots = {iso: darks[iso].law.plot / [1.0, 1.0, darks[iso].sigma] for iso in shown}
    scales = {iso: (darks[iso].law.scale or 1.0) / darks[iso].sigma for iso in shown}
    reach = max(float(np.abs(plot[:, 2]).max()) for plot in plots.values()) * 1.05
    chart = Chart(
        Axis("fitted quantile (noises)", -reach, reach), Axis("measured (noises)", -reach, reach)
    )
    chart.line([(-reach, -reach), (reach, reach)], SOFT, 2)
    legend: list[tuple[str, str]] = []
    for colour, iso in zip(_COLOURS, shown, strict=False):
        law = darks[iso].law
        for _, heavy, value in plots[iso][::2]:
            chart.dot(heavy * scales[iso], value, colour, 3.0)
        legend.append((colour, f"ISO {iso:.0f}: lambda {law.lam:.2f}"))
    last = shown[-1]
    chart.line([(normal, value) for normal, _, value in plots[last]], "#c4c4c4", 2)
    chart.legend([*legend, ("#c4c4c4", "over a Gaussian")])
    chart.save(path)
    words = ", ".join(
        f"ISO {iso:.0f} {d.law.r2 or 0.0:.5f} (Gaussian {d.law.r2_gauss or 0.0:.5f})"
        for iso, d in darks.items()
    )
    return Figure(path, "Quantiles of the dark", f"R2 of Tukey's lambda law at {words}", chart=True)


def draw_laws(path: Path, profile: CameraProfile) -> Figure:
    """Scales over K, by factors of ten, with the straight lines through them."""
    points = {
        name: [(one.K, getattr(one, name)) for one in profile.iso if one.K and getattr(one, name)]
        for name in _TITLES
        if name in profile.lines
    }
    whole = np.array([point for part in points.values() for point in part] or [(1.0, 1.0)])
    low, high = whole.min(axis=0) / 1.6, whole.max(axis=0) * 1.6
    chart = Chart(
        Axis("K (DN/e-)", float(low[0]), float(high[0]), by_tens=True),
        Axis("DN", float(low[1]), float(high[1]), by_tens=True),
    )
    legend: list[tuple[str, str]] = []
    words: list[str] = []
    for colour, (name, part) in zip(_COLOURS, points.items(), strict=False):
        law = profile.lines[name]
        for gain, value in part:
            chart.dot(gain, value, colour, 4.0)
        ends = (float(low[0]), float(high[0]))
        chart.line([(k, math.exp(law.a * math.log(k) + law.b)) for k in ends], colour)
        fit = "" if law.r2 is None else f", R2 {law.r2:.3f}"
        legend.append((colour, f"{_TITLES[name]}: slope {law.a:.2f}{fit}"))
        words.append(f"{_TITLES[name]} has slope {law.a:.2f}{fit}")
    chart.legend(legend)
    chart.save(path)
    return Figure(path, "Laws over the gain", f"Over K, {'; '.join(words)}", chart=True)
