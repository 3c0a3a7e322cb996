"""What the RAW tab shows of a calibrated camera, and of noise that was simulated."""

from __future__ import annotations

import re
from collections.abc import Mapping

from markupsafe import Markup

from studio.markup import figures, part
from studio.panels.result import Reading, Row, plain_reading
from studio.tabs.quantize import Table

_AT_ISO = re.compile(r"(.+)_iso_(\d+)")
_COLUMNS = {
    "K": "K, DN/e-",
    "K_error": "its error, %",
    "sigma": "Read noise, DN",
    "lam": "Tukey lambda",
    "sigma_row": "Row noise, DN",
    "fixed_pattern": "Fixed pattern, DN",
}

Measured = Mapping[str, tuple[float, str]]


def calibration(measurements: Measured) -> Reading:
    """Frames in large numbers; what belongs to one ISO stands in the table."""
    rest = {name: value for name, value in measurements.items() if not _AT_ISO.fullmatch(name)}
    shown = {"dark_frames": "Dark frames", "flat_frames": "Flat frames"}
    headline = [Row(title, rest[name][0], "") for name, title in shown.items() if name in rest]
    rest = {name: value for name, value in rest.items() if name not in shown}
    return Reading("Calibrated from", headline, None, plain_reading(rest).rest)


def simulation(measurements: Measured) -> Reading:
    """What was drawn."""
    shown = {"K": "Gain K", "sigma": "Read noise sigma"}
    headline = [Row(title, *measurements[name]) for name, title in shown.items()]
    rest = {name: value for name, value in measurements.items() if name not in shown}
    return Reading("Simulated noise", headline, None, plain_reading(rest).rest)


def settings_table(measurements: Measured) -> Markup:
    """Noise at each ISO; nothing where none was calibrated."""
    found: dict[int, dict[str, float]] = {}
    for name, (value, _) in measurements.items():
        match = _AT_ISO.fullmatch(name)
        if match is not None:
            found.setdefault(int(match[2]), {})[match[1]] = value
    if not found:
        return Markup("")
    names = [name for name in _COLUMNS if any(name in row for row in found.values())]
    rows = [
        ("", False, [f"ISO {iso}", *(_cell(row.get(name)) for name in names)])
        for iso, row in sorted(found.items())
    ]
    return part("camera.html", table=Table(["", *(_COLUMNS[name] for name in names)], rows))


def _cell(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else figures(float(f"{value:.3g}"))
