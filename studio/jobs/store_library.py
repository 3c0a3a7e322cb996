"""Transactions of the library: finding among all jobs, the trash; see `studio.jobs.store`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any

from sqlalchemy import Select, and_, func, or_, select, update
from sqlalchemy.orm import selectinload
from sqlalchemy.sql.elements import ColumnElement

from db.schema import (
    FINISHED,
    ArtifactRow,
    JobRow,
    MeasurementRow,
    SessionRow,
    now,
    search_words,
)
from studio.jobs.store_base import ASIDE, StoreBase
from studio.jobs.views import ArtifactView, JobView, NotFound
from studio.library.wanted import Wanted

_AT_ONCE = 500  # ids in one statement


@dataclass(frozen=True)
class Found:
    """A page of what was looked for, and how much there is of it."""

    total: int
    bytes: int
    jobs: tuple[JobView, ...]


@dataclass(frozen=True)
class Facets:
    """What there is to narrow a search by: (value, how many), most first; names of measurements."""

    engines: tuple[tuple[str, int], ...]
    kinds: tuple[tuple[str, int], ...]
    states: tuple[tuple[str, int], ...]
    cameras: tuple[tuple[str, int], ...]
    measured: tuple[str, ...]


@dataclass(frozen=True)
class Usage:
    """What an owner's jobs hold in the studio's folder, in bytes."""

    engines: tuple[tuple[str, int, int], ...]  # (engine, jobs, bytes), the largest first
    trashed: int
    trashed_bytes: int
    unneeded: int  # jobs that failed or were cancelled


class LibraryStore(StoreBase):
    """All of an owner's jobs, whatever their session."""

    def find(self, owner: str, wanted: Wanted, limit: int, offset: int = 0) -> Found:
        """A page of the jobs that fit; nothing of what is not on it is loaded."""
        conditions = _conditions(owner, wanted)
        numbers = _sorted(select(JobRow.number).where(*conditions), wanted)
        with self._factory() as session:
            total, size = session.execute(
                select(func.count(), func.coalesce(func.sum(JobRow.bytes), 0)).where(*conditions)
            ).one()
            page = list(session.scalars(numbers.limit(limit).offset(offset)))
            rows = session.scalars(
                select(JobRow)
                .where(JobRow.number.in_(page))
                .options(selectinload(JobRow.artifacts), selectinload(JobRow.measurements))
            )
            views = {row.number: JobView.of(row) for row in rows}
        return Found(total, int(size), tuple(views[n] for n in page if n in views))

    def find_ids(self, owner: str, wanted: Wanted, most: int) -> list[str]:
        """Ids of all that fit, in their order."""
        query = _sorted(select(JobRow.id).where(*_conditions(owner, wanted)), wanted)
        with self._factory() as session:
            return list(session.scalars(query.limit(most)))

    def facets(self, owner: str) -> Facets:
        """What the owner's jobs can be narrowed by."""
        mine = (JobRow.owner == owner, JobRow.deleted.is_(None), ~ASIDE)
        with self._factory() as session:

            def counted(column: ColumnElement[str]) -> tuple[tuple[str, int], ...]:
                query = select(column, func.count()).where(*mine, column != "").group_by(column)
                found = session.execute(query.order_by(func.count().desc(), column))
                return tuple((value, count) for value, count in found)

            names = (
                select(MeasurementRow.name)
                .join(JobRow, JobRow.number == MeasurementRow.job_number)
                .where(*mine)
                .group_by(MeasurementRow.name)
                .order_by(MeasurementRow.name)
            )
            return Facets(
                *(
                    counted(column.expression)
                    for column in (JobRow.engine, JobRow.kind, JobRow.state, JobRow.camera)
                ),
                measured=tuple(session.scalars(names)),
            )

    def pulse(self, owner: str) -> str:
        """Changes whenever something of the owner's comes, goes or ends."""
        query = (
            select(JobRow.state, func.count(), func.count(JobRow.deleted), func.max(JobRow.number))
            .where(JobRow.owner == owner, ~ASIDE)
            .group_by(JobRow.state)
            .order_by(JobRow.state)
        )
        with self._factory() as session:
            return ";".join(",".join(map(str, row)) for row in session.execute(query))

    def usage(self, owner: str) -> Usage:
        """What takes space."""
        size = func.coalesce(func.sum(JobRow.bytes), 0)
        mine = (JobRow.owner == owner, ~ASIDE)
        engines = (
            select(JobRow.engine, func.count(), size)
            .where(*mine, JobRow.deleted.is_(None))
            .group_by(JobRow.engine)
            .order_by(size.desc())
        )
        with self._factory() as session:
            trashed, trashed_bytes = session.execute(
                select(func.count(), size).where(*mine, JobRow.deleted.is_not(None))
            ).one()
            unneeded = session.scalar(
                select(func.count()).where(
                    *mine, JobRow.deleted.is_(None), JobRow.state.in_(("failed", "cancelled"))
                )
            )
            held = session.execute(engines)
            return Usage(
                tuple((engine, count, int(total)) for engine, count, total in held),
                trashed,
                int(trashed_bytes),
                unneeded or 0,
            )

    def siblings(self, owner: str, job: JobView, most: int = 12) -> list[JobView]:
        """Other finished jobs of the same first input, the newest first."""
        if not job.inputs or not job.inputs[0].sha256:
            return []
        query = (
            select(JobRow)
            .join(ArtifactRow, ArtifactRow.job_number == JobRow.number)
            .where(
                ArtifactRow.owner == owner,
                ArtifactRow.sha256 == job.inputs[0].sha256,
                ArtifactRow.role == "input",
                ArtifactRow.position == 0,
                JobRow.owner == owner,
                JobRow.state == "done",
                JobRow.deleted.is_(None),
                JobRow.id != job.id,
                ~ASIDE,
            )
            .order_by(JobRow.number.desc())
            .limit(most)
            .options(selectinload(JobRow.artifacts), selectinload(JobRow.measurements))
        )
        with self._factory() as session:
            return [JobView.of(row) for row in session.scalars(query)]

    def shown_artifact(self, owner: str, artifact_id: str) -> tuple[ArtifactView, str, str]:
        """A file of the owner's, its session and its job, which may be in the trash.

        Raises:
            NotFound: it is not the owner's.
        """
        with self._factory() as session:
            row = session.get(ArtifactRow, artifact_id)
            if row is None or row.owner != owner:
                raise NotFound("That file does not exist")
            return ArtifactView.of(row), row.job.session_id, row.job.id

    # The trash

    def to_trash(self, owner: str, job_ids: Sequence[str]) -> list[str]:
        """Take jobs that have ended out of sight; returns the ids of those that were there."""
        return self._moved(owner, job_ids, JobRow.deleted.is_(None), now())

    def from_trash(self, owner: str, job_ids: Sequence[str]) -> list[str]:
        """Bring them back; returns the ids of those that were still there."""
        return self._moved(owner, job_ids, JobRow.deleted.is_not(None), None)

    def _moved(
        self,
        owner: str,
        job_ids: Sequence[str],
        where: ColumnElement[bool],
        deleted: datetime | None,
    ) -> list[str]:
        moved: list[str] = []
        with self._write() as session:
            for part in _parts(job_ids):
                moved += session.scalars(
                    update(JobRow)
                    .where(JobRow.owner == owner, JobRow.id.in_(part), where)
                    .where(JobRow.state.in_(FINISHED), ~ASIDE)
                    .values(deleted=deleted)
                    .returning(JobRow.id)
                )
        return moved

    def trashed(self, before: datetime, owner: str | None = None) -> list[tuple[str, str]]:
        """(owner, id) of each job that has been in the trash since before then."""
        query = select(JobRow.owner, JobRow.id).where(JobRow.deleted < before)
        if owner is not None:
            query = query.where(JobRow.owner == owner)
        with self._factory() as session:
            return [(whose, job_id) for whose, job_id in session.execute(query)]

    def waiting_of(self, owner: str, job_ids: Sequence[str]) -> tuple[list[str], int]:
        """Those of these jobs that wait, and how many of them run."""
        waiting: list[str] = []
        running = 0
        with self._factory() as session:
            for part in _parts(job_ids):
                query = select(JobRow.id, JobRow.state).where(
                    JobRow.owner == owner, JobRow.id.in_(part), JobRow.state.not_in(FINISHED)
                )
                for job_id, state in session.execute(query):
                    running += state == "running"
                    if state != "running":
                        waiting.append(job_id)
        return waiting, running

    def session_names(self, owner: str) -> dict[str, str]:
        """Name of each of the owner's sessions by its id."""
        query = select(SessionRow.id, SessionRow.name).where(SessionRow.owner == owner)
        with self._factory() as session:
            return dict(session.execute(query).all())


def shelve(row: JobRow, camera: str) -> None:
    """Note what the library finds a finished job by; its files are known by now."""
    made = [file for file in row.artifacts if file.role != "input"]
    outputs = [file for file in made if file.role == "output"]
    main = next((file for file in outputs if file.primary), None)
    row.words = search_words(
        file.path for file in row.artifacts if file.role in ("input", "output")
    )
    row.kind = main.kind if main else row.kind
    row.camera = camera
    # What was put into a folder of the person's takes nothing of the studio's.
    away = None if row.out_dir is None else PurePath(row.out_dir)
    row.bytes = sum(
        file.bytes for file in made if away is None or PurePath(file.path).parent != away
    )


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]


def _conditions(owner: str, wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [JobRow.owner == owner, ~ASIDE]
    found.append(JobRow.deleted.is_not(None) if wanted.trash else JobRow.deleted.is_(None))
    found += [
        JobRow.words.contains(word, autoescape=True) for word in wanted.search.casefold().split()
    ]
    if wanted.engine:
        exactly = JobRow.engine == wanted.engine
        below = JobRow.engine.startswith(f"{wanted.engine}.", autoescape=True)
        found.append(or_(exactly, below))
    for column, value in (
        (JobRow.kind, wanted.kind),
        (JobRow.state, wanted.state),
        (JobRow.camera, wanted.camera),
        (JobRow.session_id, wanted.session),
    ):
        if value:
            found.append(column == value)
    if wanted.since is not None:
        found.append(JobRow.created >= wanted.since)
    if wanted.until is not None:
        found.append(JobRow.created < wanted.until)
    for bound in wanted.measured:
        fits = select(MeasurementRow.job_number).where(
            _named(bound.name), bound.holds(MeasurementRow.value)
        )
        found.append(JobRow.number.in_(fits))
    return found


def _named(name: str) -> ColumnElement[bool]:
    """A measurement's name as people write it: "noise removed" is stored as noise_removed."""
    return MeasurementRow.name.in_(sorted({name, name.lower(), name.replace("_", " ")}))


def _sorted(query: Select[Any], wanted: Wanted) -> Select[Any]:
    newest = JobRow.number.desc()
    if wanted.sort == "oldest":
        return query.order_by(JobRow.number)
    if wanted.sort == "name":
        return query.order_by(func.lower(JobRow.name), newest)
    if wanted.sort == "largest":
        return query.order_by(JobRow.bytes.desc(), newest)
    if wanted.sort == "slowest":
        return query.order_by(func.coalesce(JobRow.seconds, 0).desc(), newest)
    if wanted.sort in ("low", "high") and wanted.measured:
        of = and_(MeasurementRow.job_number == JobRow.number, _named(wanted.measured[0].name))
        value = MeasurementRow.value if wanted.sort == "low" else MeasurementRow.value.desc()
        return query.join(MeasurementRow, of).order_by(value, newest)
    return query.order_by(newest)
