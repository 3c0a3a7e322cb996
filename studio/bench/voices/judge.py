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


def judge(pair: tuple[Wave, Wave] | None) -> Judged | None:
    """Scores of (clean, output); None for what only its level judges."""
    return None if pair is None else scores(*pair, _asked[0])
