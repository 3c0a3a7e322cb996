"""What a watched folder had, in the database: by this a restart does no file twice.

An entry is written before its jobs are queued and names their batch, so after a crash in between it
is seen that there are none.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, sessionmaker

from db.schema import JobRow, WatchedRow, new_id
from studio.transaction import transaction


@dataclass(frozen=True)
class State:
    """Size and time of a file, by which a change is seen without reading it."""

    bytes: int
    changed: int  # ns

    @classmethod
    def of(cls, path: Path) -> State:
        """As it is now; raises OSError."""
        facts = path.stat()
        return cls(facts.st_size, facts.st_mtime_ns)


@dataclass(frozen=True)
class Entry:
    """A file that was taken; `batch` are its jobs, "" where its content was known already."""

    id: str
    path: Path
    state: State
    sha256: str
    batch: str
    ended: bool


class Ledger:
    """Entries of one watch: a folder, what is done with its files, and where results go."""

    def __init__(self, factory: sessionmaker[Session], folder: Path, out: Path, what: str) -> None:
        self._factory = factory
        names = [str(folder.absolute()), str(out.absolute()), what]
        self._watch = hashlib.sha256(json.dumps(names).encode()).hexdigest()

    def entries(self) -> list[Entry]:
        """All of them, the oldest first."""
        query = select(WatchedRow).where(WatchedRow.watch == self._watch)
        with self._factory() as session:
            return [
                Entry(
                    row.id, Path(row.path), State(row.bytes, row.changed), row.sha256, row.batch,
                    row.ended,
                )
                for row in session.scalars(query.order_by(WatchedRow.created, WatchedRow.id))
            ]  # fmt: skip

    def add(self, path: Path, state: State, sha256: str, batch: str) -> Entry:
        """Note that a file is taken; without a batch nothing is to be done with it."""
        entry = Entry(new_id(), path, state, sha256, batch, not batch)
        with transaction(self._factory) as session:
            session.add(
                WatchedRow(
                    id=entry.id, watch=self._watch, path=str(path), bytes=state.bytes,
                    changed=state.changed, sha256=sha256, batch=batch, ended=entry.ended,
                )
            )  # fmt: skip
        return entry

    def end(self, entry: Entry) -> None:
        """Its jobs have come to an end, whichever."""
        with transaction(self._factory) as session:
            query = update(WatchedRow).where(WatchedRow.id == entry.id)
            session.execute(query.values(ended=True))

    def remove(self, entry: Entry) -> None:
        """It could not be queued, and is to be taken again."""
        with transaction(self._factory) as session:
            session.execute(delete(WatchedRow).where(WatchedRow.id == entry.id))

    def forget(self) -> None:
        """Everything is to be done again."""
        with transaction(self._factory) as session:
            session.execute(delete(WatchedRow).where(WatchedRow.watch == self._watch))

    def jobs(self, batch: str) -> list[str]:
        """Ids of the jobs of a batch in order, also of those in the trash."""
        query = select(JobRow.id).where(JobRow.batch == batch).order_by(JobRow.number)
        with self._factory() as session:
            return list(session.scalars(query))
