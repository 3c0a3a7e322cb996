"""The one way in which the studio writes to its database."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.orm import Session, sessionmaker

from db.database import DatabaseError, writing
from engines.base import UserError


class CannotWrite(UserError):
    """The database takes nothing now; the same may work later."""


@contextmanager
def transaction(factory: sessionmaker[Session]) -> Generator[Session]:
    """A session that may write; commits at the end of the block, rolls back on an exception.

    Raises:
        CannotWrite: it cannot be written, most likely because the disk is full.
    """
    try:
        with writing(factory) as session:
            yield session
    except DatabaseError as error:
        raise CannotWrite(str(error)) from error
