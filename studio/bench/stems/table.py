"""From ratios of single estimates to rows of medians and means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.bench.stems.sets import TWO, UNSEEN, Mixture

_CLASSES = {
    "percussion": "drums and percussion",
    "musical instrument": "instruments",
    "animal": "animals",
    "human voice": "voices",
}


@dataclass(frozen=True)
class Score:
    """One estimate of one source, in dB; `gain` is SI-SDR above that of the mixture."""

    sdr: float
    sir: float
    sar: float
    gain: float


Scores = Mapping[tuple[int, int], Score]  # (mixture, source) -> score


def kind_of(mixture: Mixture, place: int) -> str:
    """The class of sounds that a source belongs to in the table."""
    kinds = mixture.kinds[place]
    return next((title for kind, title in _CLASSES.items() if kind in kinds), "other sounds")


def struck(mixture: Mixture) -> bool:
    """Whether one source is percussion and the other a sustained instrument or a voice."""
    kinds = [set(one) for one in mixture.kinds]
    hit = ["percussion" in one and "tuned percussion" not in one for one in kinds]
    held = [
        bool(one & {"bowed strings", "wind instrument", "keyboard instrument", "human voice"})
        for one in kinds
    ]
    return len(hit) == 2 and ((hit[0] and held[1]) or (hit[1] and held[0]))


def groups(mixtures: Sequence[Mixture]) -> dict[str, list[tuple[int, int]]]:
    """Which (mixture, source) count in which row: the sets, then two sounds by class, by label."""
    found: dict[str, list[tuple[int, int]]] = {}
    for number, mixture in enumerate(mixtures):
        for place in mixture.asked:
            for name in _names(mixture, place):
                found.setdefault(name, []).append((number, place))
    heads = ("seen", "unseen", "drums against", "class:", "unseen label:", "label:")
    return {name: found[name] for head in heads for name in sorted(found) if name.startswith(head)}


def _names(mixture: Mixture, place: int) -> Iterable[str]:
    yield mixture.group
    if mixture.group == TWO:
        yield f"class: {kind_of(mixture, place)}"
        if struck(mixture):
            yield "drums against a held sound"
    seen = "unseen " if mixture.group == UNSEEN else ""
    yield f"{seen}label: {mixture.labels[place]}"


def rows(
    mixtures: Sequence[Mixture], scores: Mapping[str, Scores], detail: str
) -> list[dict[str, Any]]:
    """One row a set and system, and one a label for the system called `detail`.

    Args:
        mixtures: all of them.
        scores: system -> (mixture, source) -> score; a system has a row where it lacks none.
        detail: whose labels are shown one by one.
    """
    table: list[dict[str, Any]] = []
    for name, members in groups(mixtures).items():
        for system, found in scores.items():
            if any(one not in found for one in members):
                continue  # what was judged on a part of a set alone compares with nobody there
            if "label:" not in name or system == detail:
                known = [found[one] for one in members]
                table.append({"set": name, "system": system, "sounds": len(known), **_cells(known)})
    return table


def _cells(known: Sequence[Score]) -> dict[str, float | None]:
    gains = [score.gain for score in known if np.isfinite(score.gain)]
    half = 1.96 * float(np.std(gains)) / len(gains) ** 0.5 if len(gains) > 1 else None
    return {
        "sdr_median": _of(known, np.median, "sdr"),
        "sdr_mean": _of(known, np.mean, "sdr"),
        "sir_median": _of(known, np.median, "sir"),
        "sar_median": _of(known, np.median, "sar"),
        "si_sdr_gain_median": _of(known, np.median, "gain"),
        "si_sdr_gain_mean": _of(known, np.mean, "gain"),
        "si_sdr_gain_±": None if half is None else round(half, 2),
    }


def _of(known: Sequence[Score], middle: Callable[..., Any], measure: str) -> float | None:
    """Over what has a ratio; infinite ones count as 80 dB."""
    values = np.array([getattr(one, measure) for one in known])
    values = np.clip(values[~np.isnan(values)], -80.0, 80.0)
    return round(float(middle(values)), 2) if len(values) else None
