"""Every transaction on jobs, sessions and artifacts. What a visitor can reach takes the owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, selectinload
from sqlalchemy.sql.elements import ColumnElement

from db.schema import FINISHED, WAITING, ArtifactRow, JobRow, new_id, now
from studio.jobs.new_job import NewJob, job_row
from studio.jobs.store_base import ASIDE, LISTED, drop_results
from studio.jobs.store_bundle import BundleStore
from studio.jobs.store_cameras import CameraStore
from studio.jobs.store_chains import ChainStore, cancel_behind, wait_again
from studio.jobs.store_library import LibraryStore
from studio.jobs.store_runner import RunnerStore
from studio.jobs.store_sessions import SessionStore
from studio.jobs.views import (
    ArtifactView,
    BatchItem,
    JobView,
    NotFound,
    QueueView,
)
from studio.workspace import printable

_LATELY = 20  # jobs from which the time of the waiting ones is judged


class Store(SessionStore, RunnerStore, ChainStore, CameraStore, LibraryStore, BundleStore):
    """The database as the queue sees it; thread-safe, each call is one transaction.

    Every call that changes something may raise `CannotWrite`.
    """

    def add(self, owner: str, session_id: str, jobs: Sequence[NewJob]) -> list[str]:
        """Queue jobs in one transaction; returns their ids."""
        with self._write() as session:
            self._session(session, owner, session_id).updated = now()
            ids = [new_id() for _ in jobs]
            session.add_all(
                job_row(owner, session_id, job_id, job)
                for job_id, job in zip(ids, jobs, strict=True)
            )
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
        """A page of the owner's jobs; questions (`aside`) are among them only where ids ask."""
        conditions: list[ColumnElement[bool]] = [JobRow.owner == owner, JobRow.deleted.is_(None)]
        if ids is None:
            conditions.append(LISTED)
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

    def batch(self, owner: str, batch: str, limit: int = 1000) -> list[BatchItem]:
        """The first jobs of a batch in the order of their inputs; no objects are made of rows."""
        mine = JobRow.owner == owner, JobRow.batch == batch, JobRow.deleted.is_(None)
        jobs = select(JobRow.number, JobRow.id, JobRow.state).where(*mine).order_by(JobRow.number)
        files = (
            select(ArtifactRow.job_number, ArtifactRow.role, ArtifactRow.id, ArtifactRow.path)
            .join(JobRow)
            .where(*mine, ArtifactRow.role.in_(("input", "output", "thumbnail")))
            .order_by(ArtifactRow.position.desc())  # so that the first input is met last
        )
        names: dict[int, str] = {}
        outputs: Counter[int] = Counter()
        thumbnails: dict[int, tuple[str, str]] = {}
        with self._factory() as session:
            for number, role, artifact_id, path in session.execute(files):
                if role == "output":
                    outputs[number] += 1
                elif role == "input":
                    names[number] = path
                else:
                    thumbnails[number] = (artifact_id, printable(PurePath(path).name))
            return [
                BatchItem(
                    job_id, state, printable(PurePath(names.get(number, "")).name),
                    outputs[number], thumbnails.get(number),
                )
                for number, job_id, state in session.execute(jobs.limit(limit))
            ]  # fmt: skip

    def counts(
        self, owner: str, session_id: str | None = None, batch: str | None = None
    ) -> dict[str, int]:
        """How many of the owner's jobs are in each state."""
        query = select(JobRow.state, func.count()).where(JobRow.owner == owner, LISTED)
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
                JobRow.owner == owner, JobRow.state.in_(WAITING), LISTED
            )
            waiting, first = session.execute(mine).one()
            ahead = 0
            if waiting and not running:
                others = select(func.count(func.distinct(JobRow.owner))).where(
                    JobRow.owner != owner, JobRow.state.in_((*WAITING, "running"))
                )
                ahead = session.scalar(others.where(JobRow.number < first)) or 0
            last = (
                select(JobRow.seconds)
                .where(JobRow.owner == owner, JobRow.state == "done")
                .where(JobRow.batch.in_([job.batch for job in running if job.batch]))
                .order_by(JobRow.number.desc())
                .limit(_LATELY)
            )
            took = [seconds for seconds in session.scalars(last) if seconds is not None]
        left = None
        if took and waiting:
            spent = sum((now() - job.started).total_seconds() for job in running if job.started)
            left = max(0.0, sum(took) / len(took) * (waiting + len(running)) - spent)
        return QueueView(tuple(running), waiting, ahead, left)

    def aside(self, owner: str) -> list[JobView]:
        """The owner's questions, which stand in no list."""
        query = select(JobRow).where(JobRow.owner == owner, ASIDE)
        with self._factory() as session:
            return [JobView.of(row) for row in session.scalars(query)]

    def forget_aside(self) -> None:
        """Delete all questions; a start does, as nobody waits for their answers any more."""
        with self._write() as session:
            for row in session.scalars(select(JobRow).where(ASIDE)):
                session.delete(row)

    def artifact(self, owner: str, artifact_id: str) -> ArtifactView:
        """One file of the owner's.

        Raises:
            NotFound: it is not the owner's.
        """
        with self._factory() as session:
            row = session.get(ArtifactRow, artifact_id)
            if row is None or row.owner != owner or row.job.deleted is not None:
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

    def requeue(self, owner: str, job_ids: Sequence[str], device: str | None = None) -> None:
        """Put jobs that have ended back into the queue as they were asked for, without results.

        Their files outside the studio's folder stay where they are.
        """
        with self._write() as session:
            for job_id in job_ids:
                row = self._job(session, owner, job_id)
                if row.state not in FINISHED:
                    continue
                drop_results(row)
                row.state, row.error, row.cancel_requested = "queued", None, False
                row.done = row.total = 0.0
                row.text, row.attempts, row.finished, row.runner = "", 0, None, None
                row.device = device or row.device
                wait_again(session, row)

    def request_cancel(self, owner: str, job_id: str) -> str:
        """Cancel a waiting job at once, ask a running one to stop; returns the state it was in."""
        with self._write() as session:
            row = self._job(session, owner, job_id)
            state = row.state
            if state in WAITING:
                row.state, row.finished = "cancelled", now()
                cancel_behind(session, row)
            elif state == "running":
                row.cancel_requested = True
            return state

    def request_cancel_all(
        self, owner: str, session_id: str | None = None
    ) -> tuple[int, list[str]]:
        """Cancel whatever waits and ask what runs to stop; how many, and which of them run."""
        mine = [JobRow.owner == owner]
        if session_id is not None:
            mine.append(JobRow.session_id == session_id)
        with self._write() as session:
            waiting = session.scalars(
                update(JobRow)
                .where(*mine, JobRow.state.in_(WAITING))
                .values(state="cancelled", finished=now())
                .returning(JobRow.id)
            ).all()
            running = session.scalars(
                update(JobRow)
                .where(*mine, JobRow.state == "running")
                .values(cancel_requested=True)
                .returning(JobRow.id)
            ).all()
            return len(waiting) + len(running), list(running)

    def remove_job(self, owner: str, job_id: str) -> JobView:
        """Delete a job's rows, from the trash too; it must not run. Returns what it was."""
        with self._write() as session:
            row = self._job(session, owner, job_id, trashed=True)
            view = JobView.of(row)
            if row.state != "running":
                cancel_behind(session, row)
                session.delete(row)
            return view

    @staticmethod
    def _job(session: Session, owner: str, job_id: str, *, trashed: bool = False) -> JobRow:
        row = session.scalar(select(JobRow).where(JobRow.id == job_id))
        if row is None or row.owner != owner or (row.deleted is not None and not trashed):
            raise NotFound("That job does not exist any more")
        return row

    def input_paths(self) -> set[Path]:
        """Every file that some job takes, whoever's it is."""
        with self._factory() as session:
            query = select(ArtifactRow.path).where(ArtifactRow.role == "input").distinct()
            return {Path(path) for path in session.scalars(query)}

    def in_use(self, path: Path) -> bool:
        """Whether some job takes or made this file."""
        with self._factory() as session:
            query = select(ArtifactRow.id).where(ArtifactRow.path == str(path)).limit(1)
            return session.scalar(query) is not None

    def model_hashes(self, owner: str, session_id: str) -> set[str]:
        """Hashes of the models that jobs of a session of the owner's take."""
        query = (
            select(ArtifactRow.sha256)
            .join(JobRow)
            .where(JobRow.owner == owner, JobRow.session_id == session_id)
            .where(ArtifactRow.role == "input", ArtifactRow.kind == "model")
        )
        with self._factory() as session:
            return set(session.scalars(query))

    def known_jobs(self) -> set[tuple[str, str]]:
        """(session, job) of every job that is done and has files of its own."""
        kept = select(ArtifactRow.job_number).where(ArtifactRow.role != "input")
        with self._factory() as session:
            query = select(JobRow.session_id, JobRow.id).where(
                JobRow.state == "done", JobRow.number.in_(kept)
            )
            return {(session_id, job_id) for session_id, job_id in session.execute(query)}

    def waiting(self, owner: str) -> int:
        """Jobs of an owner that are neither finished nor running."""
        with self._factory() as session:
            query = select(func.count()).where(JobRow.owner == owner, JobRow.state.in_(WAITING))
            return session.scalar(query) or 0

    def marks(self, owner: str, job_ids: Sequence[str]) -> dict[str, tuple[str, float]]:
        """State and progress of those jobs of the owner's that are (still) there."""
        query = select(JobRow.id, JobRow.state, JobRow.done).where(
            JobRow.owner == owner, JobRow.id.in_(job_ids)
        )
        with self._factory() as session:
            return {job_id: (state, done) for job_id, state, done in session.execute(query)}
