"""What the limits and the deletion of old sessions ask of the database, whoever's rows they are."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Select, func, or_, select

from db.schema import WAITING, JobRow, PresetRow, SessionRow, now
from studio.config import KEPT, LOCAL
from studio.jobs.store_base import StoreBase

_BUSY = (*WAITING, "running")


class Visited(StoreBase):
    """Questions on all visitors' jobs and sessions; each call is one transaction."""

    def waiting(self, owner: str) -> int:
        """Jobs of an owner that wait."""
        with self._factory() as session:
            query = select(func.count()).where(JobRow.owner == owner, JobRow.state.in_(WAITING))
            return session.scalar(query) or 0

    def waiting_of_all(self) -> int:
        """Jobs of everybody that wait."""
        with self._factory() as session:
            return session.scalar(select(func.count()).where(JobRow.state.in_(WAITING))) or 0

    def expired(self, hours: float) -> list[str]:
        """Visitors' sessions in which nothing waits or runs and that were not used for so long."""
        with self._factory() as session:
            return list(session.scalars(self._expired(hours)))

    def remove_expired(self, session_id: str, hours: float) -> bool:
        """Delete a session's rows, unless it has been used meanwhile; whether they are gone."""
        with self._write() as session:
            if session.scalar(self._expired(hours).where(SessionRow.id == session_id)) is None:
                return False
            session.delete(session.get_one(SessionRow, session_id))
            return True

    def remove_presets_of_nobody(self, hours: float) -> None:
        """Delete presets, so old, of visitors who have no session any more."""
        with self._write() as session:
            mine = select(SessionRow.id).where(SessionRow.owner == PresetRow.owner).exists()
            for row in session.scalars(
                select(PresetRow).where(
                    ~mine, PresetRow.owner.not_in((LOCAL, KEPT)),
                    PresetRow.created < now() - timedelta(hours=hours),
                )
            ):  # fmt: skip
                session.delete(row)

    @staticmethod
    def _expired(hours: float) -> Select[str]:
        before = now() - timedelta(hours=hours)
        mine = JobRow.session_id == SessionRow.id
        used = select(JobRow.id).where(
            mine, or_(JobRow.state.in_(_BUSY), JobRow.finished >= before)
        )
        return select(SessionRow.id).where(
            SessionRow.owner.not_in((LOCAL, KEPT)), SessionRow.updated < before, ~used.exists()
        )
