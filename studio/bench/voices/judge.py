"""Scoring in processes of their own: little to import, one network for each of them."""

from __future__ import annotations

from studio.bench.voices.dnsmos import Dnsmos
from studio.bench.voices.measures import Wave, scores

Judged = dict[str, float | None]
_asked: list[Dnsmos | None] = [None]


def prepare() -> None:
    """Load DNSMOS, where it is installed."""
    try:
        _asked[0] = Dnsmos()
    except ImportError:
        _asked[0] = None


def judge(task: tuple[Wave, Wave, bool] | None) -> Judged | None:
    """Scores of (clean, output, whether DNSMOS too); None for what only its level judges."""
    if task is None:
        return None
    clean, found, listened = task
    return scores(clean, found, _asked[0] if listened else None)
