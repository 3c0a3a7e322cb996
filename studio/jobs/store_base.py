"""What the parts of `studio.jobs.store` share: a transaction, and who counts as listed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.orm import Session, sessionmaker

from db.database import DatabaseError, writing
from db.schema import JobRow
from engines import registry
from engines.base import UserError

LISTED = JobRow.engine.not_in(registry.aside_ids())  # questions of the page stand in no list


class CannotWrite(UserError):
    """The database takes nothing now; the same may work later."""


class StoreBase:
    """A database; every call is one transaction."""

    def __init__(self, factory: sessionmaker[Session]) -> None:
        self._factory = factory

    @contextmanager
    def _write(self) -> Generator[Session]:
        try:
            with writing(self._factory) as session:
                yield session
        except DatabaseError as error:
            raise CannotWrite(str(error)) from error


def drop_results(row: JobRow) -> None:
    """Take away what an earlier run of a job has made."""
    row.artifacts = [artifact for artifact in row.artifacts if artifact.role == "input"]
    row.measurements, row.notes = [], []
    row.models, row.versions = {}, {}
