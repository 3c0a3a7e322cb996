"""Transactions of whole sessions that come from a file; see `studio.library.bundle`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select

from db.schema import ArtifactRow, CameraRow, JobRow, MeasurementRow, SessionRow
from studio.jobs.store_base import StoreBase
from studio.jobs.store_library import shelve
from studio.jobs.views import SessionView, first_name
from studio.library.bundle import JobEntry
from studio.workspace import printable


@dataclass(frozen=True)
class Placed:
    """A job of a session file with its new id, and where each of its files lies now.

    `parent` is the new id of the job that is the step before it in a recipe.
    """

    id: str
    batch: str | None
    entry: JobEntry
    paths: Sequence[Path]
    parent: str | None = None


class BundleStore(StoreBase):
    """Sessions as one thing."""

    def put_session(
        self, owner: str, session_id: str, name: str, jobs: Sequence[Placed]
    ) -> SessionView:
        """Add a session with jobs that have ended, in one transaction."""
        with self._write() as session:
            row = SessionRow(id=session_id, owner=owner, name=name)
            session.add(row)
            session.flush()
            for placed in jobs:
                job = _row(owner, session_id, placed)
                session.add(job)
                session.flush()  # they are numbered in their order
                camera = _camera(owner, job.number, placed.entry)
                if camera is not None:
                    session.add(camera)
            return SessionView.of(row, len(jobs))

    def profiles(self, owner: str, session_id: str) -> dict[str, tuple[str, str, dict[str, Any]]]:
        """Job -> name, camera and profile of each camera that a session's jobs have measured."""
        query = (
            select(JobRow.id, CameraRow.name, CameraRow.model, CameraRow.profile)
            .join(JobRow, JobRow.number == CameraRow.job_number)
            .where(CameraRow.owner == owner, JobRow.session_id == session_id)
        )
        with self._factory() as session:
            return {job: (name, model, held) for job, name, model, held in session.execute(query)}


def _row(owner: str, session_id: str, placed: Placed) -> JobRow:
    entry = placed.entry
    row = JobRow(
        id=placed.id,
        session_id=session_id,
        owner=owner,
        batch=placed.batch,
        engine=entry.engine,
        engine_version=entry.engine_version,
        params=entry.params,
        state=entry.state,
        done=1.0 if entry.state == "done" else 0.0,
        total=1.0,
        error=entry.error,
        device=entry.device,
        seed=entry.seed,
        source="file",
        created=entry.created,
        started=entry.started,
        finished=entry.finished or entry.created,
        seconds=entry.seconds,
        peak_mb=entry.peak_mb,
        versions=dict(entry.versions),
        models=dict(entry.models),
        notes=list(entry.notes),
        recipe=entry.recipe.model_dump() if entry.recipe else None,
        parent=placed.parent,
    )
    row.artifacts = [
        ArtifactRow(
            owner=owner, role=file.role, kind=file.kind, label=file.label, path=str(path),
            sha256=file.sha256, bytes=file.bytes, primary=file.primary, position=position,
            facts=file.facts.model_dump(mode="json", exclude_unset=True),
        )
        for position, (file, path) in enumerate(zip(entry.files, placed.paths, strict=True))
    ]  # fmt: skip
    row.measurements = [
        MeasurementRow(name=one.name, value=one.value, unit=one.unit, position=position)
        for position, one in enumerate(entry.measurements)
    ]
    inputs = [file for file in entry.files if file.role == "input"]
    source = entry.recipe.source if entry.recipe and entry.recipe.step > 1 else ""
    row.name = first_name([printable(source)] if source else [printable(f.name) for f in inputs])
    row.kind = inputs[0].kind if inputs else ""
    shelve(row, entry.camera)
    return row


def _camera(owner: str, number: int, entry: JobEntry) -> CameraRow | None:
    """The profile that a job measured, if it is one; it is checked as a file of it would be."""
    if entry.profile is None:
        return None
    from engines.raw.noise.profile import CameraProfile

    try:
        profile = CameraProfile.model_validate(entry.profile.profile)
    except ValidationError:
        return None
    return CameraRow(
        owner=owner, job_number=number, name=entry.profile.name, model=entry.profile.model,
        profile=profile.model_dump(mode="json"),
    )  # fmt: skip
