"""Every transaction on jobs, sessions and artifacts. What a visitor can reach takes the owner."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, selectinload, sessionmaker
from sqlalchemy.sql.elements import ColumnElement

from db.schema import (
    FINISHED,
    WAITING,
    ArtifactRow,
    JobRow,
    MeasurementRow,
    SessionRow,
    new_id,
    now,
)
from studio.jobs.task import FileFacts, Outcome, Progress
from studio.jobs.views import ArtifactView, JobView, NotFound, QueueView, SessionView

MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class NewJob:
    """What `Store.add` needs to know of one job."""

    engine: str
    engine_version: str
    params: Mapping[str, Any]
    inputs: Sequence[Path]
    kind: str
    source: str = "page"
    out_dir: Path | None = None
    batch: str | None = None
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Claimed:
    """A job that this process is now to perform."""

    id: str
    session_id: str
    owner: str
    engine: str
    params: Mapping[str, Any]
    inputs: tuple[str, ...]
    device: str
    seed: int
    out_dir: Path | None


@dataclass(frozen=True)
class Unfinished:
    """What a studio that stopped in the middle left of one job; `moving` is its journal."""

    id: str
    session_id: str
    moving: tuple[tuple[Path, Path], ...] = field(default=())


class Store:
    """The database as the queue sees it; thread-safe, each call is one transaction."""

    def __init__(self, factory: sessionmaker[Session]) -> None:
        self._factory = factory

    @contextmanager
    def _write(self) -> Generator[Session]:
        with self._factory.begin() as session:
            yield session

    # Sessions

    def add_session(self, owner: str, name: str) -> SessionView:
        """Create a session."""
        with self._write() as session:
            row = SessionRow(owner=owner, name=name)
            session.add(row)
            session.flush()
            return SessionView.of(row)

    def sessions(self, owner: str) -> list[SessionView]:
        """The owner's sessions, the one used last first."""
        count = (
            select(JobRow.session_id, func.count().label("jobs"))
            .where(JobRow.owner == owner)
            .group_by(JobRow.session_id)
            .subquery()
        )
        query = (
            select(SessionRow, func.coalesce(count.c.jobs, 0))
            .outerjoin(count, count.c.session_id == SessionRow.id)
            .where(SessionRow.owner == owner)
            .order_by(SessionRow.updated.desc())
        )
        with self._factory() as session:
            return [SessionView.of(row, jobs) for row, jobs in session.execute(query)]

    def rename_session(self, owner: str, session_id: str, name: str) -> None:
        """Give a session another name."""
        with self._write() as session:
            self._session(session, owner, session_id).name = name

    def remove_session(self, owner: str, session_id: str) -> None:
        """Delete a session's rows; nothing in it may be running."""
        with self._write() as session:
            session.delete(self._session(session, owner, session_id))

    def touch_session(self, owner: str, session_id: str) -> None:
        """Note that a session was used now.

        Raises:
            NotFound: it is not the owner's.
        """
        with self._write() as session:
            self._session(session, owner, session_id).updated = now()

    @staticmethod
    def _session(session: Session, owner: str, session_id: str) -> SessionRow:
        row = session.get(SessionRow, session_id)
        if row is None or row.owner != owner:
            raise NotFound("That session does not exist; choose another")
        return row

    # Jobs of an owner

    def add(self, owner: str, session_id: str, jobs: Sequence[NewJob]) -> list[str]:
        """Queue jobs in one transaction; returns their ids."""
        with self._write() as session:
            self._session(session, owner, session_id).updated = now()
            ids = [new_id() for _ in jobs]
            for job_id, job in zip(ids, jobs, strict=True):
                row = JobRow(
                    id=job_id,
                    session_id=session_id,
                    owner=owner,
                    batch=job.batch,
                    engine=job.engine,
                    engine_version=job.engine_version,
                    params=dict(job.params),
                    device=job.device,
                    seed=job.seed,
                    out_dir=str(job.out_dir) if job.out_dir else None,
                    source=job.source,
                )
                row.artifacts = [
                    ArtifactRow(owner=owner, role="input", kind=job.kind, path=str(path),
                                position=n, bytes=path.stat().st_size if path.is_file() else 0)
                    for n, path in enumerate(job.inputs)
                ]  # fmt: skip
                session.add(row)
            return ids

    def job(self, owner: str, job_id: str) -> JobView:
        """One job.

        Raises:
            NotFound: it is not the owner's.
        """
        with self._factory() as session:
            return JobView.of(self._job(session, owner, job_id))

    def jobs(
        self,
        owner: str,
        *,
        session_id: str | None = None,
        states: Sequence[str] = (),
        batch: str | None = None,
        ids: Sequence[str] | None = None,
        engine_prefix: str = "",
        limit: int = 50,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[JobView]:
        """A page of the owner's jobs."""
        conditions: list[ColumnElement[bool]] = [JobRow.owner == owner]
        if session_id is not None:
            conditions.append(JobRow.session_id == session_id)
        if states:
            conditions.append(JobRow.state.in_(states))
        if batch is not None:
            conditions.append(JobRow.batch == batch)
        if ids is not None:
            conditions.append(JobRow.id.in_(ids))
        if engine_prefix:
            conditions.append(JobRow.engine.startswith(engine_prefix))
        query = (
            select(JobRow)
            .where(*conditions)
            .order_by(JobRow.number.desc() if newest_first else JobRow.number)
            .limit(limit)
            .offset(offset)
            .options(selectinload(JobRow.artifacts), selectinload(JobRow.measurements))
        )
        with self._factory() as session:
            return [JobView.of(row) for row in session.scalars(query)]

    def counts(
        self, owner: str, session_id: str | None = None, batch: str | None = None
    ) -> dict[str, int]:
        """How many of the owner's jobs are in each state."""
        query = select(JobRow.state, func.count()).where(JobRow.owner == owner)
        if session_id is not None:
            query = query.where(JobRow.session_id == session_id)
        if batch is not None:
            query = query.where(JobRow.batch == batch)
        with self._factory() as session:
            found = session.execute(query.group_by(JobRow.state))
            return dict(found.all())

    def queue(self, owner: str) -> QueueView:
        """What runs and waits, as far as it is this owner's."""
        running = self.jobs(owner, states=("running",), newest_first=False)
        with self._factory() as session:
            mine = select(func.count(), func.min(JobRow.number)).where(
                JobRow.owner == owner, JobRow.state.in_(WAITING)
            )
            waiting, first = session.execute(mine).one()
            ahead = 0
            if waiting and not running:
                others = select(func.count(func.distinct(JobRow.owner))).where(
                    JobRow.owner != owner, JobRow.state.in_((*WAITING, "running"))
                )
                ahead = session.scalar(others.where(JobRow.number < first)) or 0
        return QueueView(tuple(running), waiting, ahead)

    def artifact(self, owner: str, artifact_id: str) -> ArtifactView:
        """One file of the owner's.

        Raises:
            NotFound: it is not the owner's.
        """
        with self._factory() as session:
            row = session.get(ArtifactRow, artifact_id)
            if row is None or row.owner != owner:
                raise NotFound("That file does not exist")
            return ArtifactView.of(row)

    def newest_batch(self, owner: str, key: str) -> list[JobView]:
        """Jobs of the newest batch whose id starts with `key`, in order."""
        query = (
            select(JobRow.batch)
            .where(JobRow.owner == owner, JobRow.batch.startswith(key))
            .order_by(JobRow.number.desc())
            .limit(1)
        )
        with self._factory() as session:
            batch = session.scalar(query)
        if batch is None:
            return []
        return self.jobs(owner, batch=batch, limit=100_000, newest_first=False)

    def requeue(self, owner: str, job_id: str) -> None:
        """Put a failed or cancelled job back into the queue, as it was asked for."""
        with self._write() as session:
            row = self._job(session, owner, job_id)
            row.state, row.error, row.cancel_requested = "queued", None, False
            row.done = row.total = 0.0
            row.text, row.attempts, row.finished = "", 0, None

    def request_cancel(self, owner: str, job_id: str) -> str:
        """Cancel a waiting job at once, ask a running one to stop; returns the state it was in."""
        with self._write() as session:
            row = self._job(session, owner, job_id)
            state = row.state
            if state in WAITING:
                row.state, row.finished = "cancelled", now()
            elif state == "running":
                row.cancel_requested = True
            return state

    def remove_job(self, owner: str, job_id: str) -> JobView:
        """Delete a job's rows; it must not be running. Returns what it was."""
        with self._write() as session:
            row = self._job(session, owner, job_id)
            view = JobView.of(row)
            if row.state != "running":
                session.delete(row)
            return view

    @staticmethod
    def _job(session: Session, owner: str, job_id: str) -> JobRow:
        row = session.scalar(select(JobRow).where(JobRow.id == job_id))
        if row is None or row.owner != owner:
            raise NotFound("That job does not exist any more")
        return row

    # The runner's side

    def claim(self, device: str) -> Claimed | None:
        """Take the next waiting job: fair between owners, then first come; None if there is none.

        The update names the state it expects, so of two studios on one database one gets it.
        """
        served = (
            select(JobRow.owner, func.max(JobRow.started).label("last"))
            .group_by(JobRow.owner)
            .subquery()
        )
        query = (
            select(JobRow)
            .outerjoin(served, served.c.owner == JobRow.owner)
            .where(JobRow.state == "queued")
            .order_by(served.c.last.is_not(None), served.c.last, JobRow.number)
            .limit(1)
        )
        while True:
            with self._write() as session:
                row = session.scalar(query)
                if row is None:
                    return None
                taken = session.execute(
                    update(JobRow)
                    .where(JobRow.number == row.number, JobRow.state == "queued")
                    .values(
                        state="running",
                        started=now(),
                        attempts=JobRow.attempts + 1,
                        text="starting",
                    )
                    .returning(JobRow.number)
                ).first()
                if taken is None:
                    continue
                inputs = [a.path for a in row.artifacts if a.role == "input"]
                return Claimed(
                    row.id, row.session_id, row.owner, row.engine, row.params, tuple(inputs),
                    row.device if row.device != "auto" else device, row.seed,
                    Path(row.out_dir) if row.out_dir else None,
                )  # fmt: skip

    def progress(self, job_id: str, progress: Progress) -> None:
        """Record progress."""
        with self._write() as session:
            session.execute(
                update(JobRow)
                .where(JobRow.id == job_id)
                .values(done=progress.done, total=progress.total, text=progress.text)
            )

    def cancel_requested(self, job_id: str) -> bool:
        """Whether somebody asked a job to stop, or deleted it."""
        with self._factory() as session:
            asked = session.scalar(select(JobRow.cancel_requested).where(JobRow.id == job_id))
            return asked is None or asked

    def journal(self, job_id: str, moves: Sequence[tuple[Path, Path]]) -> None:
        """Note which files are about to get their names, before they do."""
        with self._write() as session:
            row = session.scalar(select(JobRow).where(JobRow.id == job_id))
            if row is not None:
                row.moving = [[str(staged), str(final)] for staged, final in moves]

    def finish(
        self, job_id: str, outcome: Outcome, files: Sequence[tuple[FileFacts, Path]] = ()
    ) -> bool:
        """Record how a job ended, with its files, in one transaction; False if it was deleted."""
        with self._write() as session:
            row = session.scalar(select(JobRow).where(JobRow.id == job_id))
            if row is None:
                return False
            row.state, row.error, row.finished = outcome.state, outcome.error, now()
            row.seconds, row.peak_mb = outcome.seconds, outcome.peak_mb
            row.moving, row.cancel_requested = [], False
            if outcome.state == "done":
                row.done = row.total = max(row.total, 1.0)
                row.text = ""
                row.device = outcome.device
                row.engine_version = outcome.engine_version
                row.models, row.versions = dict(outcome.models), dict(outcome.versions)
                row.notes = list(outcome.notes)
                inputs = [artifact for artifact in row.artifacts if artifact.role == "input"]
                for artifact, (sha256, size) in zip(inputs, outcome.inputs, strict=True):
                    artifact.sha256, artifact.bytes = sha256, size
                row.artifacts = inputs  # an earlier run's outputs, where this is a run again
                row.artifacts.extend(
                    ArtifactRow(owner=row.owner, role=f.role, kind=f.kind, label=f.label[:200],
                                path=str(path), sha256=f.sha256, bytes=f.bytes, primary=f.primary,
                                position=n + len(outcome.inputs))
                    for n, (f, path) in enumerate(files)
                )  # fmt: skip
                row.measurements = [
                    MeasurementRow(name=name, value=value, unit=unit, position=n)
                    for n, (name, value, unit) in enumerate(outcome.measurements)
                ]
            return True

    def interrupt(self, job_id: str) -> None:
        """The studio stops in good order: the job goes on at the next start, not counted."""
        with self._write() as session:
            session.execute(
                update(JobRow)
                .where(JobRow.id == job_id, JobRow.state == "running")
                .values(state="interrupted", attempts=JobRow.attempts - 1, moving=[])
            )

    def unfinished(self) -> list[Unfinished]:
        """Jobs that were running when a studio stopped without saying so."""
        with self._factory() as session:
            rows = session.scalars(
                select(JobRow).where(JobRow.state.in_(("running", "interrupted")))
            )
            return [
                Unfinished(r.id, r.session_id, tuple((Path(a), Path(b)) for a, b in r.moving))
                for r in rows
            ]

    def requeue_unfinished(self) -> None:
        """Queue them again; one that stopped the studio three times has failed."""
        with self._write() as session:
            for row in session.scalars(
                select(JobRow).where(JobRow.state.in_(("running", "interrupted")))
            ):
                row.moving, row.text, row.done = [], "", 0.0
                if row.cancel_requested:
                    row.state, row.finished, row.cancel_requested = "cancelled", now(), False
                elif row.attempts >= MAX_ATTEMPTS:
                    row.state, row.finished = "failed", now()
                    row.error = (
                        f"The studio stopped {row.attempts} times in the middle of this file; "
                        "try it alone, or with a smaller tile"
                    )
                else:
                    row.state = "queued"

    def known_paths(self, folder: Path) -> set[str]:
        """Paths below `folder` that some artifact points at."""
        with self._factory() as session:
            query = select(ArtifactRow.path).where(ArtifactRow.path.startswith(str(folder)))
            return set(session.scalars(query))

    def known_jobs(self) -> set[tuple[str, str]]:
        """(session, job) of every job that is done."""
        with self._factory() as session:
            query = select(JobRow.session_id, JobRow.id).where(JobRow.state == "done")
            return {(session_id, job_id) for session_id, job_id in session.execute(query)}

    def waiting(self, owner: str) -> int:
        """Jobs of an owner that are neither finished nor running."""
        with self._factory() as session:
            query = select(func.count()).where(JobRow.owner == owner, JobRow.state.in_(WAITING))
            return session.scalar(query) or 0

    def active_in(self, session_id: str) -> list[str]:
        """Ids of a session's jobs that have not ended."""
        with self._factory() as session:
            query = select(JobRow.id).where(
                JobRow.session_id == session_id, JobRow.state.not_in(FINISHED)
            )
            return list(session.scalars(query))
