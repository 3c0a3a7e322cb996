"""Everything that the session has run, newest first, fifty to a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.forms import settings_in_words
from studio.jobs.views import ArtifactView, JobView
from studio.markup import figures, plural, render
from studio.scene import Scene, engine_or_none, html_panel, item_name

TAB = "history"
PAGE = 50
_MEASURED = 4


@dataclass(frozen=True)
class _Job:
    id: str
    title: str
    state: str
    created: Any
    seconds: float | None
    error: str | None
    thumbnail: ArtifactView | None
    outputs: tuple[ArtifactView, ...]


@dataclass(frozen=True)
class _Entry:
    job: _Job
    engine: str
    finished: bool
    measured: list[str]
    settings: str


class HistoryPanel:
    """The list and the session's name, switch and removal."""

    name = "history"

    def __init__(self) -> None:
        """Make the component; call inside a Blocks context."""
        self.component = html_panel("ns-history")

    def html(self, scene: Scene) -> str | None:
        """The open page of the history."""
        if scene.view.tab != TAB:
            return None
        counts = scene.studio.counts(scene.owner, scene.session.id)
        total = sum(counts.values())
        pages = max(1, -(-total // PAGE))
        scene.view.page = min(max(scene.view.page, 0), pages - 1)
        jobs = scene.studio.jobs(
            scene.owner, session_id=scene.session.id, limit=PAGE, offset=scene.view.page * PAGE
        )
        return render(
            "history.html",
            session=scene.session,
            sessions=scene.studio.sessions(scene.owner),
            summary=_summary(total, counts),
            jobs=[_entry(job) for job in jobs],
            page=scene.view.page,
            pages=pages,
        )


def _summary(total: int, counts: Mapping[str, int]) -> str:
    states = ("running", "queued", "interrupted", "failed", "cancelled")
    parts = [f"{counts[state]} {state}" for state in states if counts.get(state)]
    return ", ".join([plural(total, "job"), *parts]) if total else ""


def _entry(job: JobView) -> _Entry:
    engine = engine_or_none(job.engine)
    changed = [
        f"{title}: {value}"
        for title, value, differs in (
            settings_in_words(engine.Params, job.params) if engine else []
        )
        if differs
    ]
    return _Entry(
        job=_Job(
            job.id, item_name(job), job.state, job.created, job.seconds, job.error,
            job.thumbnail, job.outputs,
        ),
        engine=job.title,
        finished=job.state in ("done", "failed", "cancelled"),
        measured=[
            f"{name.replace('_', ' ')} {figures(value)} {unit}".strip()
            for name, (value, unit) in list(job.measurements.items())[:_MEASURED]
        ],
        settings="  ·  ".join(changed) or "Automatic settings",
    )  # fmt: skip
