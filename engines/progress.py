"""How long something will still take, in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """About how long: "40 s", "12 min", "2 h 10 min"."""
    if seconds < 60.0:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60.0)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"
