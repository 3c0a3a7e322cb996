"""Transactions of the runner, who performs the jobs of all owners; see `studio.jobs.store`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, null, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from db.schema import UNFINISHED, ArtifactRow, JobRow, MeasurementRow, now
from studio.jobs.store_base import ASIDE, LISTED, StoreBase, drop_results
from studio.jobs.store_cameras import keep_cameras, without_profile
from studio.jobs.store_chains import cancel_behind, follow, settle_chains
from studio.jobs.store_library import shelve
from studio.jobs.task import FileFacts, Outcome, Progress
from studio.jobs.views import NotFound
from studio.workspace import Move, printable

MAX_ATTEMPTS = 3
_BEGUN = or_(JobRow.state.in_(UNFINISHED), JobRow.moving.is_not(null()))


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
    parent: str | None = None


@dataclass(frozen=True)
class Leftover:
    """What a studio has begun of one job and not brought to an end.

    Attributes:
        id: of the job.
        session_id: of the job.
        done: whether only its journal is left.
        out_dir: folder of the person's that its outputs go to.
        moving: its journal.
        runner: the studio whose it is; None for nobody's.
        beat: grows while that studio lives.
    """

    id: str
    session_id: str
    done: bool
    out_dir: Path | None
    moving: tuple[Move, ...]
    runner: str | None
    beat: int


class RunnerStore(StoreBase):
    """Jobs from being claimed to being finished, and what a stop in the middle left.

    Where several studios work with one database, one that seemed gone and comes back may find its
    job taken over; then nothing that it says of that job counts any more.
    """

    def claim(self, device: str, *, asked: bool = False) -> Claimed | None:
        """Take the next waiting job: fair between owners, then first come; None if there is none.

        A question, which somebody is looking at, goes before everything else, unless the last one
        done was a question as well (`asked`) and somebody else's jobs wait: nobody is kept waiting
        by one who asks and asks. The update names the state it expects, so of two studios on one
        database one gets it.
        """
        first = (
            select(JobRow.owner, func.min(JobRow.number).label("number"))
            .where(JobRow.state == "queued", LISTED)
            .group_by(JobRow.owner)
            .subquery()
        )
        served = (
            select(func.max(JobRow.started))
            .where(JobRow.owner == first.c.owner, LISTED)
            .scalar_subquery()
        )
        fairly = (
            select(first.c.number)
            .order_by(served.is_not(None), served, first.c.number)  # who was never served is first
            .limit(1)
            .scalar_subquery()
        )
        questions = select(func.min(JobRow.number)).where(JobRow.state == "queued", ASIDE)
        if asked:
            kept = select(first.c.owner).where(first.c.owner != JobRow.owner).exists()
            questions = questions.where(~kept)
        next_one = select(func.coalesce(questions.scalar_subquery(), fairly))
        with self._factory() as session:  # most looks find nothing, and need not hold up a writer
            if session.scalar(next_one) is None:
                return None
        while True:
            with self._write() as session:
                number = session.scalar(next_one)
                if number is None:
                    return None
                row = session.scalar(
                    update(JobRow)
                    .where(JobRow.number == number, JobRow.state == "queued")
                    .values(
                        state="running",
                        started=now(),
                        attempts=JobRow.attempts + 1,
                        text="starting",
                        runner=self.me,
                    )
                    .returning(JobRow)
                )
                if row is None:
                    continue
                inputs = [a.path for a in row.artifacts if a.role == "input"]
                return Claimed(
                    row.id, row.session_id, row.owner, row.engine, row.params, tuple(inputs),
                    row.device if row.device != "auto" else device, row.seed,
                    Path(row.out_dir) if row.out_dir else None, row.parent,
                )  # fmt: skip

    def progress(self, job_id: str, progress: Progress) -> None:
        """Record progress."""
        with self._write() as session:
            session.execute(
                update(JobRow)
                .where(JobRow.id == job_id, self._mine)
                .values(done=progress.done, total=progress.total, text=progress.text)
            )

    def cancel_requested(self, job_id: str) -> bool:
        """Whether somebody asked a job to stop, deleted it, or took it over."""
        query = select(JobRow.cancel_requested).where(JobRow.id == job_id, self._mine)
        with self._factory() as session:
            asked = session.scalar(query)
            return asked is None or asked

    def taken_over(self, job_id: str) -> bool:
        """Whether another studio does a job now."""
        others = JobRow.runner.is_distinct_from(self.me)
        with self._factory() as session:
            found = session.scalar(select(JobRow.id).where(JobRow.id == job_id, others))
            return found is not None

    @property
    def _mine(self) -> ColumnElement[bool]:
        return JobRow.runner == self.me

    def journal(self, job_id: str, moves: Sequence[Move]) -> None:
        """Note which files are about to get their names, before they do.

        Raises:
            NotFound: the job was deleted or taken over, so they are to get none.
        """
        lines = [[str(move.staged), str(move.final), move.sha256] for move in moves]
        noted = update(JobRow).where(JobRow.id == job_id, self._mine).values(moving=lines)
        with self._write() as session:
            if session.scalar(noted.returning(JobRow.id)) is None:
                raise NotFound("This job was deleted, or another studio does it")

    def settled(self, job_id: str) -> None:
        """The journal of a job has served: its files have their names, or are gone."""
        with self._write() as session:
            session.execute(
                update(JobRow).where(JobRow.id == job_id, self._mine).values(moving=null())
            )

    def finish(
        self, job_id: str, outcome: Outcome, files: Sequence[tuple[FileFacts, Path]] = ()
    ) -> bool:
        """Record how a job ended, with its files, in one transaction.

        Its journal stays until `settled`. False if it was deleted or taken over.
        """
        with self._write() as session:
            row = session.scalar(select(JobRow).where(JobRow.id == job_id, self._mine))
            if row is None:
                return False
            row.state, row.error, row.finished = outcome.state, outcome.error, now()
            row.seconds, row.peak_mb, row.cancel_requested = outcome.seconds, outcome.peak_mb, False
            drop_results(row)  # an earlier run's, where this is a run again
            if outcome.state == "done":
                row.done = row.total = max(row.total, 1.0)
                row.text = ""
                row.device = outcome.device
                row.engine_version = outcome.engine_version
                row.models, row.versions = dict(outcome.models), dict(outcome.versions)
                row.notes = [printable(note) for note in outcome.notes]
                for artifact, (sha256, size) in zip(row.artifacts, outcome.inputs, strict=True):
                    artifact.sha256, artifact.bytes = sha256, size
                row.artifacts.extend(
                    ArtifactRow(owner=row.owner, role=f.role, kind=f.kind, label=f.label,
                                path=str(path), sha256=f.sha256, bytes=f.bytes, primary=f.primary,
                                facts=without_profile(f.facts),
                                position=n + len(outcome.inputs))
                    for n, (f, path) in enumerate(files)
                )  # fmt: skip
                shelve(row, outcome.camera)
                keep_cameras(session, row, [f for f, _ in files])
                row.measurements = [
                    MeasurementRow(name=name, value=value, unit=unit, position=n)
                    for n, (name, value, unit) in enumerate(outcome.measurements)
                ]
            follow(session, row)
            return True

    def interrupt(self, job_id: str) -> None:
        """The studio stops in good order: the job goes on at the next start, not counted."""
        with self._write() as session:
            session.execute(
                update(JobRow)
                .where(JobRow.id == job_id, JobRow.state == "running", self._mine)
                .values(state="interrupted", attempts=JobRow.attempts - 1, runner=null())
            )

    def beat(self) -> None:
        """Say that this studio lives, in the rows of all jobs that are its to do."""
        with self._write() as session:
            session.execute(
                update(JobRow).where(JobRow.runner == self.me, _BEGUN).values(beat=JobRow.beat + 1)
            )

    def take_over(self, job: Leftover) -> bool:
        """Make a job of a studio that is gone this one's; False if it lives, or another was first.

        It runs on until `requeue_unfinished`, as far as others can see.
        """
        theirs = JobRow.runner == job.runner if job.runner else JobRow.runner.is_(None)
        taken = (
            update(JobRow)
            .where(JobRow.id == job.id, theirs, JobRow.beat == job.beat, _BEGUN)
            .values(runner=self.me, beat=JobRow.beat + 1)
        )
        with self._write() as session:
            return session.scalar(taken.returning(JobRow.id)) is not None

    def others(self) -> set[str]:
        """Ids of the jobs that other studios have begun."""
        with self._factory() as session:
            query = select(JobRow.id).where(
                _BEGUN, JobRow.runner.is_not(None), JobRow.runner != self.me
            )
            return set(session.scalars(query))

    def leftovers(self) -> list[Leftover]:
        """Jobs of which a studio that stopped in the middle may have left files."""
        with self._factory() as session:
            return [
                Leftover(
                    row.id,
                    row.session_id,
                    row.state == "done",
                    Path(row.out_dir) if row.out_dir else None,
                    tuple(Move(Path(a), Path(b), sha256) for a, b, sha256 in row.moving or ()),
                    row.runner,
                    row.beat,
                )
                for row in session.scalars(select(JobRow).where(_BEGUN))
            ]

    def requeue_unfinished(self, job_ids: Collection[str] | None = None) -> None:
        """Queue them again, or those of these ids; one that stopped the studio thrice has failed.

        Args:
            job_ids: jobs that this studio took over; None are all, where there is no other studio.
        """
        unfinished = select(JobRow).where(JobRow.state.in_(UNFINISHED))
        if job_ids is not None:
            unfinished = unfinished.where(JobRow.id.in_(job_ids), JobRow.runner == self.me)
        with self._write() as session:
            for row in session.scalars(unfinished):
                row.text, row.done, row.runner = "", 0.0, None
                if row.cancel_requested:
                    row.state, row.finished, row.cancel_requested = "cancelled", now(), False
                    cancel_behind(session, row)
                elif row.attempts >= MAX_ATTEMPTS:
                    row.state, row.finished = "failed", now()
                    row.error = (
                        f"The studio stopped {row.attempts} times in the middle of this file; "
                        "try it alone, or with a smaller tile"
                    )
                    follow(session, row)
                else:
                    row.state = "queued"
            settle_chains(session)
