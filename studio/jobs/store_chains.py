"""Jobs that follow one another, as the steps of a recipe do.

All steps of a file are jobs from the start, in one batch, each naming the one before it as its
parent. The first is queued, the others are "planned": nobody claims them. In the transaction that
records a step as done the next one gets its output as input and is queued, so a crash at any moment
leaves either a step to be done again or the next one waiting for its turn. A step that does not end
well takes those behind it along, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import exists, select
from sqlalchemy.orm import Session, aliased

from db.schema import FINISHED, ArtifactRow, JobRow, SessionRow, new_id, now
from engines import registry
from engines.base import MediaKind, UserError
from studio.jobs.new_job import NewJob, job_row
from studio.jobs.store_base import StoreBase
from studio.jobs.views import NotFound

_DROPPED = "Files between the steps were not kept"


class ChainStore(StoreBase):
    """Chains as the queue sees them."""

    def add_chains(
        self, owner: str, session_id: str, chains: Sequence[Sequence[NewJob]]
    ) -> list[list[str]]:
        """Queue the first job of each chain and plan the others; returns their ids.

        Raises:
            NotFound: the session is not the owner's.
        """
        with self._write() as session:
            place = session.get(SessionRow, session_id)
            if place is None or place.owner != owner:
                raise NotFound("That session does not exist; choose another")
            place.updated = now()
            ids = [[new_id() for _ in chain] for chain in chains]
            for names, chain in zip(ids, chains, strict=True):
                for step, (job_id, job) in enumerate(zip(names, chain, strict=True)):
                    row = job_row(owner, session_id, job_id, job)
                    if step:
                        row.state, row.parent = "planned", names[step - 1]
                    session.add(row)
                    session.flush()  # steps are numbered in their order
            return ids

    def newest_recipe(self, owner: str, session_id: str) -> str:
        """The batch of the recipe that was run last in a session of the owner's, or ""."""
        mine = select(JobRow.batch).where(JobRow.owner == owner, JobRow.session_id == session_id)
        known = mine.where(JobRow.recipe.is_not(None), JobRow.deleted.is_(None))
        with self._factory() as session:
            return session.scalar(known.order_by(JobRow.number.desc()).limit(1)) or ""

    def has_results(self, job_id: str) -> bool:
        """Whether a job (still) has files of its own."""
        query = select(ArtifactRow.id).join(JobRow).where(JobRow.id == job_id)
        with self._factory() as session:
            return session.scalar(query.where(ArtifactRow.role != "input").limit(1)) is not None


def follow(session: Session, job: JobRow) -> None:
    """A job has ended, or is about to go: what waits for it is queued, or cancelled."""
    if job.state == "done":
        for child in _children(session, job):
            _begin(session, child, job)
        _drop_before(session, job)
    else:
        _cancel(session, job, f"Not begun, as an earlier step ({_title(job.engine)}) did not end")


def cancel_behind(session: Session, job: JobRow) -> None:
    """A job is cancelled or deleted: the steps behind it are not begun."""
    _cancel(session, job, "Not begun, as an earlier step was cancelled")


def wait_again(session: Session, job: JobRow) -> None:
    """A job that is queued anew waits for the one before it, unless that is done."""
    parent = session.scalar(select(JobRow).where(JobRow.id == job.parent)) if job.parent else None
    if parent is None:
        return
    if parent.state != "done":
        job.state = "planned"
    elif any(one.role == "output" for one in parent.artifacts):
        _begin(session, job, parent)


def settle_chains(session: Session) -> None:
    """Planned jobs whose parent is gone or has ended do not wait for ever."""
    before = aliased(JobRow)
    waiting = select(JobRow).where(JobRow.state == "planned")
    there = exists().where(before.id == JobRow.parent)
    for row in session.scalars(waiting.where(~there)):
        row.state, row.finished = "cancelled", now()
        row.error = "Not begun, as an earlier step was deleted"
        cancel_behind(session, row)
    parents = select(JobRow.parent).where(JobRow.state == "planned")
    for job in session.scalars(
        select(JobRow).where(JobRow.id.in_(parents), JobRow.state.in_(FINISHED))
    ):
        follow(session, job)


def _children(session: Session, job: JobRow) -> Sequence[JobRow]:
    query = select(JobRow).where(JobRow.parent == job.id, JobRow.state == "planned")
    return session.scalars(query.order_by(JobRow.number)).all()


def _begin(session: Session, child: JobRow, parent: JobRow) -> None:
    """Give a planned job the output of the one before it."""
    fed = _fitting(parent, child.engine)
    if fed is None:
        child.state, child.finished = "failed", now()
        child.error = (
            f"{_title(parent.engine)} gave nothing that {_title(child.engine)} reads; choose "
            "another format in the step before"
        )
        _cancel(session, child, "Not begun, as an earlier step failed")
        return
    child.artifacts = [
        ArtifactRow(
            owner=child.owner, role="input", kind=fed.kind, path=fed.path, bytes=fed.bytes,
            sha256=fed.sha256,
        )
    ]  # fmt: skip
    child.state, child.text = "queued", ""


def _fitting(job: JobRow, engine_id: str) -> ArtifactRow | None:
    """The primary output if the next engine reads it, else the first that it reads."""
    try:
        engine = registry.engine_class(engine_id)
    except (UserError, ImportError):
        return None
    outputs = [one for one in job.artifacts if one.role == "output"]
    for one in sorted(outputs, key=lambda one: not one.primary):
        if reads(engine.accepts, engine.suffixes, one.kind, one.path):
            return one
    return None


def reads(accepts: Sequence[MediaKind], suffixes: Sequence[str], kind: str, path: str) -> bool:
    """Whether an engine takes a file of that kind and name."""
    suffix = Path(path).suffix.lower()
    return kind in accepts and (not suffixes or suffix in suffixes or "model" in accepts)


def _drop_before(session: Session, job: JobRow) -> None:
    """Where a recipe keeps nothing between its steps, the files of the step before go.

    The runner removes them once this is recorded; a start does where it could not.
    """
    if job.parent is None or not job.recipe or job.recipe.get("keep"):
        return
    parent = session.scalar(select(JobRow).where(JobRow.id == job.parent))
    if parent is None or not parent.recipe:
        return
    parent.artifacts = [one for one in parent.artifacts if one.role == "input"]
    if _DROPPED not in parent.notes:
        parent.notes = [*parent.notes, _DROPPED]


def _cancel(session: Session, job: JobRow, why: str) -> None:
    for child in _children(session, job):
        child.state, child.error, child.finished = "cancelled", why, now()
        _cancel(session, child, why)


def _title(engine_id: str) -> str:
    try:
        return registry.engine_class(engine_id).title
    except (UserError, ImportError):
        return engine_id
