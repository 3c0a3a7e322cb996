"""From scores of clips to rows of means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studio.bench.voices.measures import mean
from studio.bench.voices.sets import Mixture
from studio.bench.voices.sources import HEARD_IN_TRAINING

Scores = Mapping[str, float | None]
DIGITS = {"pesq": 3, "estoi": 3, "si_sdr": 2, "lsd": 2, "ovrl": 3, "sig": 3, "bak": 3}


def names_of(mixture: Mixture) -> list[str]:
    """The rows that a mixture counts in.

    Ratios and kinds of noise are of voices that no training heard; a heard voice has only its own
    row.
    """
    if mixture.group == "development":
        return [f"development, {mixture.snr} dB"]
    if mixture.group != "held-out":
        return [mixture.group]
    own = [f"voice: {mixture.voice}"]
    if mixture.voice in HEARD_IN_TRAINING:
        return own
    return ["all", f"{mixture.snr} dB", f"noise: {mixture.noise}", *own]


def order(names: Iterable[str]) -> list[str]:
    """All, by ratio, the other sets, by noise, by voice."""

    def key(name: str) -> tuple[int, float, str]:
        if name == "all":
            return 0, 0.0, name
        if name.endswith(" dB"):
            number = float(name.removeprefix("development, ").removesuffix(" dB"))
            return (2 if name.startswith("development") else 1), number, name
        head = name.partition(":")[0]
        return {"noise": 4, "voice": 5}.get(head, 3), 0.0, name

    return sorted(set(names), key=key)


def rows(
    mixtures: Sequence[Mixture], scores: Mapping[str, Sequence[Scores | None]]
) -> list[dict[str, Any]]:
    """One row a set and system: how many clips, mean of every measure, half its 95 % interval.

    Args:
        mixtures: the clips.
        scores: system -> scores of each clip in that order; None where it was not run.
    """
    groups: dict[str, list[int]] = {}
    for number, mixture in enumerate(mixtures):
        for name in names_of(mixture):
            groups.setdefault(name, []).append(number)
    table: list[dict[str, Any]] = []
    for name in order(groups):
        for system, found in scores.items():
            known = [row for number in groups[name] if (row := found[number]) is not None]
            if known:
                table.append({"set": name, "system": system, "clips": len(known), **_means(known)})
    return table


def _means(known: Sequence[Scores]) -> dict[str, float]:
    cells: dict[str, float] = {}
    for measure, digits in DIGITS.items():
        found = mean([row.get(measure) for row in known])
        if found is not None:
            cells[measure] = round(found.value, digits)
            cells[f"{measure}_±"] = round(found.half, digits)
    return cells
