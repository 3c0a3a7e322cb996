"""Transactions on sessions; see `studio.jobs.store`."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.schema import JobRow, SessionRow, now
from engines.base import UserError
from studio.jobs.store_base import LISTED, StoreBase
from studio.jobs.views import NotFound, SessionView


class SessionStore(StoreBase):
    """Sessions of an owner, and who has any."""

    def add_session(self, owner: str, name: str) -> SessionView:
        """Create a session."""
        with self._write() as session:
            row = SessionRow(owner=owner, name=name)
            session.add(row)
            session.flush()
            return SessionView.of(row)

    def first_session(self, owner: str, name: str) -> SessionView:
        """Create the owner's first session, unless two pages that open at once both ask for it."""
        with self._write() as session:
            row = session.scalar(select(SessionRow).where(SessionRow.owner == owner).limit(1))
            if row is None:
                row = SessionRow(owner=owner, name=name)
                session.add(row)
                session.flush()
            return SessionView.of(row)

    def sessions(self, owner: str) -> list[SessionView]:
        """The owner's sessions, the one used last first."""
        count = (
            select(JobRow.session_id, func.count().label("jobs"))
            .where(JobRow.owner == owner, LISTED)
            .group_by(JobRow.session_id)
            .subquery()
        )
        query = (
            select(SessionRow, func.coalesce(count.c.jobs, 0))
            .outerjoin(count, count.c.session_id == SessionRow.id)
            .where(SessionRow.owner == owner)
            .order_by(SessionRow.updated.desc())
        )
        with self._factory() as session:
            return [SessionView.of(row, jobs) for row, jobs in session.execute(query)]

    def rename_session(self, owner: str, session_id: str, name: str) -> None:
        """Give a session another name."""
        with self._write() as session:
            self._session(session, owner, session_id).name = name

    def remove_session(self, owner: str, session_id: str) -> None:
        """Delete a session's rows.

        Raises:
            NotFound: it is not the owner's.
            UserError: something in it runs.
        """
        with self._write() as session:
            row = self._session(session, owner, session_id)
            running = select(func.count()).where(
                JobRow.session_id == session_id, JobRow.state == "running"
            )
            if session.scalar(running):
                raise UserError("A job of this session is being stopped; delete it in a moment")
            session.delete(row)

    def touch_session(self, owner: str, session_id: str) -> None:
        """Note that a session was used now.

        Raises:
            NotFound: it is not the owner's.
        """
        with self._write() as session:
            self._session(session, owner, session_id).updated = now()

    @staticmethod
    def _session(session: Session, owner: str, session_id: str) -> SessionRow:
        row = session.get(SessionRow, session_id)
        if row is None or row.owner != owner:
            raise NotFound("That session does not exist; choose another")
        return row

    def known_sessions(self) -> set[str]:
        """Ids of all sessions."""
        with self._factory() as session:
            return set(session.scalars(select(SessionRow.id)))
