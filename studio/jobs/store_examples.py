"""Results of the examples that ship, worked out once and given to every visitor who asks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from db.schema import ArtifactRow, Base, JobRow, MeasurementRow, new_id, now
from studio.config import KEPT
from studio.jobs.store_base import StoreBase

# What a copy does not take over: it is a job of its own, of somebody else.
_ITS_OWN = {"number", "id", "session_id", "owner", "batch", "created", "finished", "runner", "beat"}


class ExampleStore(StoreBase):
    """The examples' jobs, which belong to nobody; each call is one transaction."""

    def find(self, engine: str, version: str, params: Mapping[str, Any], path: Path) -> str | None:
        """The newest finished job of an example with those settings."""
        query = (
            select(JobRow)
            .where(JobRow.owner == KEPT, JobRow.engine == engine, JobRow.state == "done")
            .where(JobRow.engine_version == version)
            .order_by(JobRow.number.desc())
        )
        with self._factory() as session:
            for row in session.scalars(query):
                inputs = [a.path for a in row.artifacts if a.role == "input"]
                if inputs == [str(path)] and row.params == dict(params):
                    return row.id
        return None

    def folder(self, job_id: str) -> Path | None:
        """Where such a job's files are, below the outputs; None where it is gone."""
        with self._factory() as session:
            row = session.scalar(select(JobRow).where(JobRow.id == job_id, JobRow.owner == KEPT))
            return Path(row.session_id, row.id) if row else None

    def give(
        self, job_id: str, owner: str, session_id: str, batch: str | None, new: str, outputs: Path
    ) -> bool:
        """Add a copy of such a job as `new`, whose files lie in `outputs` already.

        Args:
            job_id: of the example's job.
            owner: who gets the copy.
            session_id: a session of theirs.
            batch: of the copy.
            new: its id.
            outputs: the studio's folder of outputs.

        Returns:
            Whether the example's job was still there.
        """
        with self._write() as session:
            row = session.scalar(select(JobRow).where(JobRow.id == job_id, JobRow.owner == KEPT))
            if row is None:
                return False
            before, after = outputs / row.session_id / row.id, outputs / session_id / new
            copy = JobRow(**_columns(row, _ITS_OWN), id=new, session_id=session_id, owner=owner,
                          batch=batch, created=now(), finished=now())  # fmt: skip
            copy.artifacts = [
                ArtifactRow(**_columns(file, {"id", "job_number", "owner", "path"}), id=new_id(),
                            owner=owner, path=_moved(file.path, before, after))
                for file in row.artifacts
            ]  # fmt: skip
            copy.measurements = [
                MeasurementRow(**_columns(one, {"job_number"})) for one in row.measurements
            ]
            session.add(copy)
            return True


def _columns(row: Base, without: set[str]) -> dict[str, Any]:
    keys = [column.key for column in row.__table__.columns]  # attributes are called like them
    return {key: getattr(row, key) for key in keys if key not in without}


def _moved(path: str, before: Path, after: Path) -> str:
    place = Path(path)
    return str(after / place.relative_to(before)) if place.is_relative_to(before) else path
