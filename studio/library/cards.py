"""Results as the library shows them: cards, one of them closely, two of them side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from studio.fields import settings_in_words
from studio.jobs.store_library import Usage
from studio.jobs.views import ArtifactView, JobView, engine_title
from studio.layers import layers_beside
from studio.markup import figures, file_url
from studio.scene import engine_or_none, item_name, tab_of

_MEASURED = 3
_LEFT_OUT = ("peak_mb", "seed", "width", "height", "time")
_FIRST = ("K", "sigma", "perplexity", "bits_per_weight", "size_mb", "gain")  # said before others


@dataclass(frozen=True)
class Face:
    """What a card has at its top: a picture, a waveform, large numbers, or only a sign."""

    kind: Literal["picture", "wave", "numbers", "sign"]
    address: str = ""
    numbers: tuple[tuple[str, str], ...] = ()
    sign: str = ""


@dataclass(frozen=True)
class Card:
    """One job among many."""

    id: str
    title: str
    engine: str
    state: str
    created: Any
    face: Face
    measured: str
    files: int
    bytes: int
    error: str


def card(job: JobView) -> Card:
    """A job in a few words."""
    shown = face(job)
    return Card(
        id=job.id,
        title=item_name(job),
        engine=job.title,
        state=job.state,
        created=job.created,
        face=shown,
        # Large numbers say it already.
        measured=""
        if shown.kind == "numbers"
        else "  ·  ".join(f"{name} {value}" for name, value in measured(job)[:_MEASURED]),
        files=len(job.outputs),
        bytes=sum(file.bytes for file in job.outputs),
        error=job.error or "",
    )


def face(job: JobView) -> Face:
    """What there is to see of a job."""
    main = job.primary
    kind = main.kind if main else ""
    if kind in ("model", "profile"):
        return Face("numbers", numbers=tuple(measured(job)[:3]), sign=kind)
    if kind == "audio" and main is not None and main.sha256:
        return Face("wave", thumb_url(main))
    if job.thumbnail is not None:
        return Face("picture", thumb_url(job.thumbnail))
    if kind == "image" and main is not None and main.sha256:
        return Face("picture", thumb_url(main))
    return Face("sign", sign=kind or job.state)


def thumb_url(file: ArtifactView) -> str:
    """Address of a file's small picture, relative to the page."""
    return f"studio/thumb/{quote(file.id)}"


def measured(job: JobView) -> list[tuple[str, str]]:
    """Name, value with unit of what was measured, what people look for first."""
    names = [name for name in _FIRST if name in job.measurements]
    names += [name for name in job.measurements if name not in (*names, *_LEFT_OUT)]
    return [
        (_called(name, job.measurements[name][1]), _with_unit(*job.measurements[name]))
        for name in names
    ]


def _called(name: str, unit: str) -> str:
    """A measurement's name in words, without the unit that stands at its value."""
    return name.removesuffix(f"_{unit.lower()}").replace("_", " ")


def _with_unit(value: float, unit: str) -> str:
    return f"{figures(value)} {unit}".strip()


def details(job: JobView) -> dict[str, Any]:
    """Everything of one job, for the template of that name."""
    return {
        "card": card(job),
        "job": job,
        "finished": job.finished_state,
        "known": engine_or_none(job.engine) is not None,
        "measured": measured(job),
        "settings": [(title, value) for title, value, differs in _settings(job) if differs],
        "files": sorted(job.outputs, key=lambda file: not file.primary),
    }


def _settings(job: JobView) -> list[tuple[str, str, bool]]:
    engine = engine_or_none(job.engine)
    if engine is None:
        return [(name, str(value), True) for name, value in job.params.items()]
    return settings_in_words(engine.Params, job.params)


# Two side by side


def side_by_side(first: JobView, second: JobView) -> dict[str, Any]:
    """Two results of one input, for the template of that name."""
    names = _sides(first, second)
    return {
        "title": item_name(first),
        "sides": [
            {"id": job.id, "name": name, "engine": job.title, "created": job.created,
             "seconds": job.seconds, "tab": tab_of(job)}
            for job, name in ((first, names[0]), (second, names[1]))
        ],
        "names": names,
        "picture": _pictures(first, second),
        "tracks": _tracks(first, second, names),
        "reports": layers_beside(first, second, names),
        "figures": _figures(first, second),
        "measured": _table(first.measurements, second.measurements),
        "settings": _settings_beside(first, second),
    }  # fmt: skip


def _sides(first: JobView, second: JobView) -> tuple[str, str]:
    """What tells the two apart: their engines, else the first setting that differs."""
    if first.title != second.title:
        return first.title, second.title
    for title, one, other in _settings_beside(first, second):
        if max(len(one), len(other)) <= 24:
            return f"{title} {one}", f"{title} {other}"
    return "Earlier", "Later"


def _pictures(first: JobView, second: JobView) -> tuple[str, str] | None:
    one, other = (
        next((after for _, after in job.comparisons if after.kind == "image"), None)
        for job in (first, second)
    )
    if one is None or other is None or one.missing or other.missing:
        return None
    return file_url(one.id, one.name), file_url(other.id, other.name)


def _tracks(first: JobView, second: JobView, names: tuple[str, str]) -> list[dict[str, Any]]:
    """The untouched sound once, then each job's own; all of one length, in step."""
    if not first.tracks or not second.tracks:
        return []
    found = [_track(*first.tracks[0], first.tracks[0][0].label)]
    for job, name in ((first, names[0]), (second, names[1])):
        for sound, picture in job.tracks[1:]:
            found.append(_track(sound, picture, f"{name}: {sound.label}"))
    return found


def _figures(
    first: JobView, second: JobView
) -> list[tuple[str, list[tuple[str, str, bool] | None]]]:
    """(title, what each has under it: address, words and "is a chart") of every figure."""
    sides = [{one.label: one for one in job.figures if not one.missing} for job in (first, second)]
    return [
        (label, [_figure(side[label]) if label in side else None for side in sides])
        for label in dict.fromkeys((*sides[0], *sides[1]))
    ]


def _figure(file: ArtifactView) -> tuple[str, str, bool]:
    words = str(file.facts.get("alt") or file.label)
    return file_url(file.id, file.name), words, bool(file.facts.get("chart"))


def _track(sound: ArtifactView, picture: ArtifactView, label: str) -> dict[str, Any]:
    return {
        "sound": file_url(sound.id, sound.name),
        "picture": file_url(picture.id, picture.name),
        "label": label,
        "loudness": sound.facts.get("loudness"),
        "marks": picture.facts.get("marks", []),
        "spans": picture.facts.get("spans", []),
    }


def _table(
    first: Mapping[str, tuple[float, str]], second: Mapping[str, tuple[float, str]]
) -> list[tuple[str, str, str, str]]:
    """(name, left, right, change) of every measurement that either has."""
    rows: list[tuple[str, str, str, str]] = []
    for name in dict.fromkeys((*first, *second)):
        left, right = first.get(name), second.get(name)
        change = ""
        if left and right and left[0] != right[0]:
            change = f"{right[0] - left[0]:+.3g}".replace("-", "\N{MINUS SIGN}")
        rows.append((
            _called(name, (left or right or (0.0, ""))[1]),
            _with_unit(*left) if left else "",
            _with_unit(*right) if right else "",
            change,
        ))  # fmt: skip
    return rows


def _settings_beside(first: JobView, second: JobView) -> list[tuple[str, str, str]]:
    """(title, left, right) of the settings that differ."""
    left = {title: value for title, value, _ in _settings(first)}
    right = {title: value for title, value, _ in _settings(second)}
    return [
        (title, left.get(title, "none"), right.get(title, "none"))
        for title in dict.fromkeys((*left, *right))
        if left.get(title) != right.get(title)
    ]


# Space


def spaces(usage: Usage, uploads: int) -> list[tuple[str, int, int, float]]:
    """(what, jobs, bytes, share of the largest) of what takes space, the largest first."""
    rows = [(engine_title(engine), jobs, size) for engine, jobs, size in usage.engines]
    rows = [
        *rows,
        ("Files you sent", 0, uploads),
        ("In the trash", usage.trashed, usage.trashed_bytes),
    ]
    rows = sorted((row for row in rows if row[2]), key=lambda row: -row[2])
    largest = max((row[2] for row in rows), default=1)
    return [(*row, row[2] / largest) for row in rows]


def chips(facets: Sequence[tuple[str, int]], titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Choices of a filter: value, title and how many."""
    return [
        {"value": value, "title": titles.get(value, value), "count": count}
        for value, count in facets
    ]
