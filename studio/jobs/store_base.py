"""What the parts of `studio.jobs.store` share: a transaction, and who counts as listed."""

from __future__ import annotations

from contextlib import AbstractContextManager

from sqlalchemy import and_
from sqlalchemy.orm import Session, sessionmaker

from db.database import shared
from db.schema import JobRow, new_id
from engines import registry
from studio.transaction import transaction

ASIDE = JobRow.engine.in_(registry.aside_ids())  # questions of the page stand in no list
LISTED = and_(~ASIDE, JobRow.deleted.is_(None))  # nor does what is in the trash


class StoreBase:
    """A database; every call is one transaction."""

    def __init__(self, factory: sessionmaker[Session]) -> None:
        self._factory = factory
        self.me = new_id()  # names this studio in the rows of the jobs that it does
        self.shared = shared(factory)  # other machines' studios may do jobs as well

    def _write(self) -> AbstractContextManager[Session]:
        return transaction(self._factory)


def drop_results(row: JobRow) -> None:
    """Take away what an earlier run of a job has made."""
    row.artifacts = [artifact for artifact in row.artifacts if artifact.role == "input"]
    row.measurements, row.notes = [], []
    row.models, row.versions = {}, {}
    row.bytes = 0
