"""A session as one zip, made while it is sent; see `studio.library.bundle` for what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.base import UserError
from engines.weights import sha256_of
from studio.archive import Member, zip_stream
from studio.config import VERSION
from studio.jobs.views import ArtifactView, JobView, SessionView
from studio.library.bundle import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    MOST_JOBS,
    RESULTS,
    CameraEntry,
    Facts,
    FileEntry,
    JobEntry,
    MeasuredEntry,
    RecipeEntry,
    SessionFile,
)
from studio.workspace import printable, safe_name

if TYPE_CHECKING:
    from studio.jobs.service import Studio

_DONE = "done"


@dataclass
class Packed:
    """A session ready to be sent or copied.

    Attributes:
        session: what it is.
        manifest: its rows.
        sources: name in the zip -> where the file or folder lies.
        missing: names of files that were moved or deleted by hand, so are left out.
    """

    session: SessionView
    manifest: SessionFile
    sources: dict[str, Path] = field(default_factory=dict[str, Path])
    missing: list[str] = field(default_factory=list[str])

    @property
    def file_name(self) -> str:
        """What the zip is called."""
        return f"{safe_name(self.session.name)}.zip"

    def stream(self) -> Iterator[bytes]:
        """The zip in pieces."""
        text = self.manifest.model_dump_json(indent=1, exclude_defaults=True)
        members = [Member(path, name) for name, path in self.sources.items()]
        yield from zip_stream([Member(None, MANIFEST, text.encode()), *members])


def pack(studio: Studio, owner: str, session_id: str) -> Packed:
    """Collect a session's rows and files; what waits or runs is taken as cancelled.

    Raises:
        NotFound: it is not the owner's.
        UserError: it holds more jobs than a file may.
    """
    studio.store.touch_session(owner, session_id)
    session = next(one for one in studio.sessions(owner) if one.id == session_id)
    jobs = studio.jobs(owner, session_id, limit=MOST_JOBS + 1, newest_first=False)
    if len(jobs) > MOST_JOBS:
        raise UserError(f"A session of more than {MOST_JOBS} jobs cannot be exported; divide it")
    profiles = studio.store.profiles(owner, session_id)
    collected = _Collector()
    batches: dict[str, int] = {}
    places: dict[str, int] = {}  # a step comes after the one that it follows
    entries: list[JobEntry] = []
    for number, job in enumerate(jobs):
        entry = _job(number + 1, job, collected, batches, profiles.get(job.id))
        before = places.get(job.parent or "")
        entries.append(entry.model_copy(update={"parent": before}))
        places[job.id] = number
    manifest = SessionFile(
        format=FORMAT, version=FORMAT_VERSION, studio=VERSION, exported=datetime.now(UTC),
        name=session.name, jobs=entries,
    )  # fmt: skip
    return Packed(session, manifest, collected.sources, collected.missing)


class _Collector:
    def __init__(self) -> None:
        self.sources: dict[str, Path] = {}
        self.missing: list[str] = []
        self._taken: set[str] = set()
        self._inputs: dict[Path, tuple[str, str]] = {}

    def input(self, file: ArtifactView) -> tuple[str, str]:
        """(name in the zip, sha256) of an input; it is hashed where no job has done so yet."""
        if file.path in self._inputs:
            return self._inputs[file.path]
        if not file.path.exists():
            self.missing.append(file.name)
            return "", file.sha256
        sha256 = file.sha256 or ("" if file.path.is_dir() else sha256_of(file.path))
        place = f"inputs/{sha256 or f'unread-{len(self._inputs)}'}/{safe_name(file.name)}"
        if place not in self.sources:
            self._add(place, file.path)
        self._inputs[file.path] = place, sha256
        return place, sha256

    def result(self, number: int, file: ArtifactView) -> str:
        """Name in the zip of something that a job made."""
        if file.missing:
            self.missing.append(file.name)
            return ""
        name, count = safe_name(file.name), 1
        place = f"{RESULTS}{number:04}/{name}"
        while place.casefold() in self._taken:
            count += 1
            place = f"{RESULTS}{number:04}/{count}-{name}"
        self._add(place, file.path)
        self._inputs[file.path] = place, file.sha256  # of the step that follows
        return place

    def _add(self, place: str, path: Path) -> None:
        self._taken.add(place.casefold())
        self.sources[place] = path


def _job(
    number: int,
    job: JobView,
    collected: _Collector,
    batches: dict[str, int],
    profile: tuple[str, str, dict[str, Any]] | None,
) -> JobEntry:
    files = [_file(file, *collected.input(file)) for file in job.inputs]
    if job.state == _DONE:
        made = [*job.outputs, *job.figures]
        made += [file for pair in (*job.comparisons, *job.tracks) for file in pair]
        made += [job.thumbnail] if job.thumbnail else []
        files += [_file(file, collected.result(number, file), file.sha256) for file in made]
    return JobEntry(
        engine=job.engine,
        engine_version=job.engine_version,
        params=dict(job.params),
        state=job.state if job.finished_state else "cancelled",  # type: ignore[arg-type]
        error=job.error,
        device=job.device,
        seed=job.seed,
        batch=None if job.batch is None else batches.setdefault(job.batch, len(batches)),
        created=job.created,
        started=job.started,
        finished=job.finished,
        seconds=job.seconds,
        peak_mb=job.peak_mb,
        camera=job.camera,
        versions=dict(job.versions),
        models=dict(job.models),
        notes=list(job.notes),
        measurements=[
            MeasuredEntry(name=name, value=value, unit=unit)
            for name, (value, unit) in job.measurements.items()
        ],
        files=files,
        profile=CameraEntry(name=profile[0], model=profile[1], profile=profile[2])
        if profile
        else None,
        recipe=RecipeEntry.model_validate(dict(job.recipe)) if job.recipe else None,
    )


def _file(file: ArtifactView, stored: str, sha256: str) -> FileEntry:
    return FileEntry(
        role=file.role,  # type: ignore[arg-type]
        kind=file.kind,  # type: ignore[arg-type]
        label=file.label,
        name=printable(file.path.name)[:255] or "file",
        sha256=sha256,
        bytes=file.bytes,
        primary=file.primary,
        facts=Facts.model_validate(dict(file.facts)),
        folder=bool(stored) and file.path.is_dir(),
        stored=stored,
    )
