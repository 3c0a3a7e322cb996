"""Camera profiles of an owner: kept when the job that measured them ends, gone with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db.schema import CameraRow, JobRow
from studio.jobs.store_base import StoreBase
from studio.jobs.task import PROFILE, FileFacts

_MOST = 50  # newest that a job is told of


class CameraStore(StoreBase):
    """What an owner's calibrations found."""

    def cameras(self, owner: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Name and profile of each, the newest first; of two with one name the newest."""
        query = (
            select(CameraRow.name, CameraRow.profile)
            .where(CameraRow.owner == owner)
            .order_by(CameraRow.created.desc(), CameraRow.id)
            .limit(_MOST)
        )
        found: dict[str, Mapping[str, Any]] = {}
        with self._factory() as session:
            for name, profile in session.execute(query):
                found.setdefault(name, profile)
        return list(found.items())


def keep_cameras(session: Session, job: JobRow, files: Sequence[FileFacts]) -> None:
    """Keep the profiles that a finished job made, in place of those of an earlier run of it."""
    session.execute(delete(CameraRow).where(CameraRow.job_number == job.number))
    for file in files:
        profile: dict[str, Any] | None = file.facts.get(PROFILE)
        if profile is not None:
            name, model = PurePath(file.name).stem, str(profile.get("model", ""))
            session.add(
                CameraRow(owner=job.owner, job_number=job.number, name=name, model=model,
                          profile=profile)
            )  # fmt: skip


def without_profile(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a file's own row keeps of its facts."""
    return {name: value for name, value in facts.items() if name != PROFILE}
