"""The result of a tab: before and after, what was measured, files to take away, how it was made.

The last result stays until the next one is there. One layout serves all engines; what a kind of
work wants to say of its measurements comes from its tab as a `Reading`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from studio.config import Settings
from studio.fields import settings_in_words
from studio.jobs.views import ArtifactView, BatchItem, JobView
from studio.markup import duration, file_url, plural, render
from studio.scene import Scene, engine_or_none, html_panel, item_name, tab_of
from studio.workspace import printable

Icon = Literal["picture", "sound", "model"]
_STRIP = 120  # more results of one batch than this are found in the history
_LOOK_BACK = 50
_ENDED = ("done", "failed", "cancelled")
_UNDER_WAY = ("queued", "running", "interrupted")
_PLAYED = (".mp4", ".m4v", ".webm")  # films that browsers play
_PEAK = "peak_mb"  # measured of every job, so it is said with the record


@dataclass(frozen=True)
class Row:
    """A measurement as it is shown; `before` where it is one that has changed."""

    name: str
    value: float
    unit: str
    before: float | None = None


@dataclass(frozen=True)
class Verdict:
    """A measurement said in a sentence; `tone` is "sure" or "doubt"."""

    text: str
    tone: str


@dataclass(frozen=True)
class Reading:
    """A result's measurements sorted for the eye: large numbers, one sentence, the rest."""

    title: str
    headline: Sequence[Row]
    verdict: Verdict | None
    rest: Sequence[Row]


@dataclass(frozen=True)
class Pair:
    """Before and after, and what the pictures show."""

    before: ArtifactView
    after: ArtifactView
    label: str


@dataclass(frozen=True)
class _Figure:
    id: str
    name: str
    label: str
    alt: str
    chart: bool


def plain_reading(measurements: Mapping[str, tuple[float, str]]) -> Reading:
    """All measurements in a table, for engines whose tab says nothing more of them."""
    rows = [
        Row(name.replace("_", " "), value, unit) for name, (value, unit) in measurements.items()
    ]
    return Reading("Measured", (), None, rows)


def _nothing_more(_job: JobView, _scene: Scene) -> Markup:
    return Markup("")


class ResultPanel:
    """Result of one tab."""

    def __init__(
        self,
        tab: str,
        empty: tuple[str, str],
        read: Callable[[Mapping[str, tuple[float, str]]], Reading] = plain_reading,
        *,
        icon: Icon = "picture",
        more: Callable[[JobView, Scene], Markup] = _nothing_more,
        sides: tuple[str, str] = ("Before", "After"),
    ) -> None:
        """Make the component; call inside a Blocks context.

        Args:
            tab: id of the tab.
            empty: headline and sentence while there is no result.
            read: sorts a result's measurements for the eye.
            icon: what is drawn while there is no result.
            more: what a tab adds to a finished job, below measurements and figures.
            sides: what the two pictures of a comparison are called.
        """
        self.name = f"result-{tab}"
        self._tab = tab
        self._empty = empty
        self._read = read
        self._icon = icon
        self._more = more
        self._sides = sides
        self.component = html_panel(f"ns-result-{tab}")

    def html(self, scene: Scene) -> str | None:
        """The result that is open, or what is awaited, or the empty state."""
        if scene.view.tab != self._tab:
            return None
        coming = self._coming(scene)
        job = scene.job(scene.view.open.get(self._tab))
        if job is None:
            scene.view.open.pop(self._tab, None)
        return render(
            "result.html",
            pending=_pending(coming, shown=job is not None),
            batch=_batch(job.batch, scene.batch(job.batch)) if job and not coming else None,
            icon=self._icon,
            empty_title=self._empty[0],
            empty_text=self._empty[1],
            **self._one(job, scene),
        )

    def open_latest(self, scene: Scene) -> None:
        """Open the newest result of the session on this tab, or await what is under way."""
        if self._tab not in scene.view.open:
            ended = self._newest(scene, ("done",)) or self._newest(scene, _ENDED)
            if ended is not None:
                scene.view.open[self._tab] = ended.id
        waiting = self._newest(scene, _UNDER_WAY)
        under_way = waiting.batch if waiting else None
        # Once a batch has a result, it was shown; what is open now was chosen since.
        if all(job.state != "done" for job in scene.batch(under_way)) and under_way:
            scene.view.coming[self._tab] = under_way

    def _newest(self, scene: Scene, states: Sequence[str]) -> JobView | None:
        jobs = scene.studio.jobs(
            scene.owner, session_id=scene.session.id, states=states, limit=_LOOK_BACK
        )
        return next((job for job in jobs if tab_of(job) == self._tab), None)

    def _coming(self, scene: Scene) -> list[BatchItem]:
        """Jobs of the batch that is awaited; opens its first result as soon as there is one."""
        jobs = scene.batch(scene.view.coming.get(self._tab))
        ended = [job for job in jobs if job.state in _ENDED]
        done = [job for job in ended if job.state == "done"]
        if done or len(ended) == len(jobs):
            scene.view.coming.pop(self._tab, None)
            if ended:
                scene.view.open[self._tab] = (done or ended)[0].id
            return []
        return jobs

    def _one(self, job: JobView | None, scene: Scene) -> dict[str, Any]:
        if job is None:
            return {"job": None}
        engine = engine_or_none(job.engine)
        reading = self._read({k: v for k, v in job.measurements.items() if k != _PEAK})
        return {
            "job": _Shown(job),
            "finished": job.state in _ENDED,
            "engine_title": job.title,
            "comparisons": [
                Pair(before, after, after.label)
                for before, after in job.comparisons
                if after.kind == "image"
            ],
            "tracks": [
                {
                    "sound": file_url(sound.id, sound.name),
                    "picture": file_url(picture.id, picture.name),
                    "label": sound.label,
                    "loudness": sound.facts.get("loudness"),
                    "marks": picture.facts.get("marks", []),
                    "spans": picture.facts.get("spans", []),
                }
                for sound, picture in job.tracks
            ],
            "films": []
            if job.tracks
            else [
                file
                for file in job.outputs
                if file.name.lower().endswith(_PLAYED) and not file.missing
            ],
            "downloads": sorted(job.outputs, key=lambda file: not file.primary),
            "sides": self._sides,
            "folders": _folders(job, scene.studio.settings),
            "more": self._more(job, scene) if job.state == "done" else "",
            "headline": reading.headline,
            "verdict": reading.verdict,
            "measurements": reading.rest,
            "measured_title": reading.title,
            "settings": settings_in_words(engine.Params, job.params) if engine else [],
            "record": _record(job),
        }


class _Shown:
    """A job for the template: named after its file, figures with their description."""

    def __init__(self, job: JobView) -> None:
        self.id = job.id
        self.title = item_name(job)
        self.state = job.state
        self.error = job.error
        self.seconds = job.seconds
        self.finished = job.finished
        self.created = job.created
        self.notes = job.notes
        self.figures = [
            _Figure(
                figure.id,
                figure.name,
                figure.label,
                str(figure.facts.get("alt", "")),
                bool(figure.facts.get("chart")),
            )
            for figure in job.figures
        ]


def _pending(coming: Sequence[BatchItem], *, shown: bool) -> dict[str, str] | None:
    if not coming:
        return None
    running = any(job.state == "running" for job in coming)
    count = plural(len(coming), "file")
    return {
        "headline": f"{count} being processed" if running else f"{count} waiting",
        "text": "The earlier result stays here until the new one is ready."
        if shown
        else "The result appears here as soon as it is ready.",
    }


def _batch(batch: str | None, jobs: Sequence[BatchItem]) -> dict[str, Any] | None:
    if len(jobs) < 2:
        return None
    ended = [job for job in jobs if job.state in _ENDED]
    count = {state: sum(job.state == state for job in jobs) for state in _ENDED}
    words = [f"{count['done']} of {len(jobs)} done"]
    words += [f"{count[state]} {state}" for state in ("failed", "cancelled") if count[state]]
    return {
        "id": batch,
        "headline": ", ".join(words),
        "downloads": sum(job.outputs for job in jobs),
        "failed": count["failed"],
        "jobs": ended[:_STRIP],
        "more": len(ended[_STRIP:]),
    }


def _folders(job: JobView, settings: Settings) -> list[str]:
    """Where a folder is, and where outputs lie that went to a folder of the person's.

    Nobody but the person at this machine is told a path.
    """
    if settings.shared:
        return []
    own = {file.path for file in job.outputs if file.folder and not file.missing}
    around = {file.path.parent for file in job.outputs if not file.folder}
    around = {folder for folder in around if not folder.is_relative_to(settings.outputs)}
    return sorted(printable(str(folder)) for folder in own | around)


def _record(job: JobView) -> list[tuple[str, str]]:
    peak = job.peak_mb or job.measurements.get(_PEAK, (0.0, ""))[0]
    rows = [
        ("Engine", f"{job.title} {job.engine_version}".strip()),
        ("Weights", ", ".join(f"{name} ({sha[:12]})" for name, sha in job.models.items())),
        ("Device", job.device),
        ("Time", duration(job.seconds)),
        ("Peak memory", f"{peak:.0f} MB" if peak else ""),
        ("Seed", str(job.seed)),
        ("Input sha256", ", ".join(file.sha256[:16] for file in job.inputs)),
        ("Software", ", ".join(f"{name} {version}" for name, version in job.versions.items())),
    ]
    return [(name, value) for name, value in rows if value]
