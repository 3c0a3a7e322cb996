"""What page, command line and API see of the database: plain frozen values, no open session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from db.schema import ArtifactRow, JobRow, SessionRow
from engines import registry
from engines.base import UserError
from studio.workspace import printable


class NotFound(UserError):
    """There is no such thing, or it is somebody else's; the two are not told apart."""


@dataclass(frozen=True)
class SessionView:
    """A session; `jobs` is how many it holds."""

    id: str
    name: str
    created: datetime
    updated: datetime
    jobs: int = 0

    @classmethod
    def of(cls, row: SessionRow, jobs: int = 0) -> SessionView:
        """From a row."""
        return cls(row.id, row.name, row.created, row.updated, jobs)


@dataclass(frozen=True)
class ArtifactView:
    """A file of a job; `name` is its file name, `missing` whether it is gone from the disk."""

    id: str
    role: str
    kind: str
    label: str
    name: str
    path: Path
    sha256: str
    bytes: int
    facts: Mapping[str, Any]
    primary: bool

    @property
    def folder(self) -> bool:
        """Whether an output is a folder, as a model is."""
        return bool(self.facts.get("folder"))

    @property
    def missing(self) -> bool:
        """Whether it was deleted or moved by hand."""
        return not (self.path.is_dir() if self.folder else self.path.is_file())

    @classmethod
    def of(cls, row: ArtifactRow) -> ArtifactView:
        """From a row."""
        path = Path(row.path)
        return cls(
            row.id, row.role, row.kind, row.label, printable(path.name), path, row.sha256,
            row.bytes, row.facts, row.primary,
        )  # fmt: skip


@dataclass(frozen=True)
class JobView:
    """A job with everything that it took and made."""

    id: str
    seq: int
    session_id: str
    batch: str | None
    engine: str
    title: str
    engine_version: str
    params: Mapping[str, Any]
    state: str
    done: float
    total: float
    text: str
    seconds_left: float | None
    error: str | None
    device: str
    seed: int
    source: str
    seconds: float | None
    peak_mb: float | None
    created: datetime
    started: datetime | None
    finished: datetime | None
    inputs: tuple[ArtifactView, ...] = ()
    outputs: tuple[ArtifactView, ...] = ()
    figures: tuple[ArtifactView, ...] = ()
    comparisons: tuple[tuple[ArtifactView, ArtifactView], ...] = ()
    tracks: tuple[tuple[ArtifactView, ArtifactView], ...] = ()  # sound and its spectrogram
    thumbnail: ArtifactView | None = None
    measurements: Mapping[str, tuple[float, str]] = field(
        default_factory=dict[str, tuple[float, str]]
    )
    notes: tuple[str, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict[str, str])
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    parent: str | None = None  # id of the step before, of a recipe
    recipe: Mapping[str, Any] = field(default_factory=dict[str, Any])  # see `studio.recipes.runs`
    camera: str = ""

    @property
    def finished_state(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def name(self) -> str:
        """Its first input, and how many more there are; "" where there are none.

        A later step is called after the file that its recipe began with.
        """
        if self.recipe and self.recipe["step"] > 1 and self.recipe.get("source"):
            return str(self.recipe["source"])
        return first_name([file.name for file in self.inputs])

    @property
    def step(self) -> tuple[int, int] | None:
        """Which step of how many a job of a recipe is."""
        return (int(self.recipe["step"]), int(self.recipe["steps"])) if self.recipe else None

    @property
    def primary(self) -> ArtifactView | None:
        """The output to open first."""
        return next((file for file in self.outputs if file.primary), None)

    @classmethod
    def of(cls, row: JobRow) -> JobView:
        """From a row with its artifacts and measurements."""
        files = [ArtifactView.of(artifact) for artifact in row.artifacts]

        def role(name: str) -> tuple[ArtifactView, ...]:
            return tuple(file for file in files if file.role == name)

        return cls(
            id=row.id,
            seq=row.number,
            session_id=row.session_id,
            batch=row.batch,
            engine=row.engine,
            title=engine_title(row.engine),
            engine_version=row.engine_version,
            params=row.params,
            state=row.state,
            done=row.done,
            total=row.total,
            text=row.text,
            seconds_left=_seconds_left(row),
            error=row.error,
            device=row.device,
            seed=row.seed,
            source=row.source,
            seconds=row.seconds,
            peak_mb=row.peak_mb,
            created=row.created,
            started=row.started,
            finished=row.finished,
            inputs=role("input"),
            outputs=role("output"),
            figures=role("figure"),
            comparisons=tuple(zip(role("before"), role("after"), strict=True)),
            tracks=tuple(zip(role("track"), role("spectrogram"), strict=True)),
            thumbnail=next(iter(role("thumbnail")), None),
            measurements={m.name: (m.value, m.unit) for m in row.measurements},
            notes=tuple(row.notes),
            models=row.models,
            versions=row.versions,
            parent=row.parent,
            recipe=row.recipe or {},
            camera=row.camera,
        )


@dataclass(frozen=True)
class BatchItem:
    """One job of a batch in a few words, for a page that looks at a thousand every second.

    Attributes:
        id: of the job.
        state: of the job.
        name: of its first input.
        outputs: how many it has.
        thumbnail: (id, name) of its thumbnail, if it has one.
    """

    id: str
    state: str
    name: str
    outputs: int
    thumbnail: tuple[str, str] | None


@dataclass(frozen=True)
class QueueView:
    """What an owner sees of the queue.

    Attributes:
        running: jobs that run now.
        waiting: how many wait.
        ahead: how many of others are before the first that waits.
        seconds_left: until all of them are done, judged by how long the last ones of the same
            batch took; None while none has ended.
    """

    running: tuple[JobView, ...]
    waiting: int
    ahead: int
    seconds_left: float | None = None


def first_name(names: Sequence[str]) -> str:
    """What a job is called after its inputs: the first, and how many more there are."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}" if names else ""


def engine_title(engine_id: str) -> str:
    """Title of an engine; its id where the engine is no longer there."""
    try:
        return registry.engine_class(engine_id).title
    except (UserError, ImportError):
        return engine_id


def _seconds_left(row: JobRow) -> float | None:
    if row.state != "running" or row.started is None or row.total <= 0 or row.done <= 0:
        return None
    spent = (datetime.now(UTC) - row.started).total_seconds()
    return None if spent < 3.0 else spent * (row.total - row.done) / row.done
