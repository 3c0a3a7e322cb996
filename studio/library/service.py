"""The library of an owner: what can be found, compared and thrown away, and until when it is kept.

What is deleted goes to the trash: out of sight at once, off the disk after a time. The time stands
in the job's row, so a restart changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from db.schema import now
from engines.base import UserError
from studio.jobs.store_library import Facets, Found, Usage
from studio.jobs.views import JobView, NotFound
from studio.library.wanted import PAGE, Wanted

if TYPE_CHECKING:
    from studio.config import Settings
    from studio.jobs.service import Studio

MOST = 10_000  # jobs in one action
_KEPT = timedelta(days=7)
_KEPT_SHARED = timedelta(hours=1)  # where strangers fill somebody else's disk
_SWEEP_EVERY = 600.0  # seconds
_SWEEP_FIRST = 5.0  # seconds after the start, which has other things to do


@dataclass(frozen=True)
class Deleted:
    """Ids of what is in the trash now, and how many jobs run and so stayed."""

    ids: tuple[str, ...]
    running: int


class Library:
    """Calls on an owner's jobs, whatever their session."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._store = studio.store

    def find(self, owner: str, wanted: Wanted, limit: int = PAGE) -> Found:
        """The page that is asked for; the last one where there are fewer."""
        found = self._store.find(owner, wanted, limit, wanted.page * limit)
        if not found.jobs and found.total:
            found = self._store.find(owner, wanted, limit, (found.total - 1) // limit * limit)
        return found

    def ids(self, owner: str, wanted: Wanted) -> list[str]:
        """Ids of all that fit, `MOST` at most."""
        return self._store.find_ids(owner, wanted, MOST)

    def facets(self, owner: str) -> Facets:
        """What a search can be narrowed by."""
        return self._store.facets(owner)

    def usage(self, owner: str) -> Usage:
        """What takes space."""
        return self._store.usage(owner)

    def jobs(self, owner: str, ids: Sequence[str]) -> list[JobView]:
        """These jobs as far as they are the owner's, in the order of `ids`."""
        found: dict[str, JobView] = {}
        for start in range(0, min(len(ids), MOST), 500):
            part = ids[start : start + 500]
            found |= {job.id: job for job in self._store.jobs(owner, ids=part, limit=len(part))}
        return [found[one] for one in dict.fromkeys(ids) if one in found]

    def siblings(self, owner: str, job: JobView) -> list[JobView]:
        """Other results of the same input."""
        return self._store.siblings(owner, job)

    def pair(self, owner: str, one: str, other: str) -> tuple[JobView, JobView]:
        """Two finished jobs of one input.

        Raises:
            NotFound: one of them is not there.
            UserError: they cannot be compared.
        """
        first, second = self._studio.job(owner, one), self._studio.job(owner, other)
        if first.id == second.id:
            raise UserError("Choose two different results to compare")
        if first.state != "done" or second.state != "done":
            raise UserError("Only finished results can be compared; choose two that are done")
        if not first.inputs or not second.inputs or not _same(first, second):
            raise UserError(
                f"{first.name} and {second.name} are different files; choose two results of one"
            )
        # The later one, or the larger picture, is on the right, whose size both are shown at.
        left, right = sorted((first, second), key=lambda job: (_width(job), job.seq))
        return left, right

    # The trash

    @property
    def kept(self) -> timedelta:
        """How long what was deleted can be brought back."""
        return kept(self._studio.settings)

    def delete(self, owner: str, ids: Sequence[str]) -> Deleted:
        """Move jobs to the trash; what waits is cancelled first, what runs stays."""
        wanted = list(ids[:MOST])
        waiting, running = self._store.waiting_of(owner, wanted)
        for job_id in waiting:
            running += self._store.request_cancel(owner, job_id) == "running"
        return Deleted(tuple(self._store.to_trash(owner, wanted)), running)

    def delete_one(self, owner: str, job_id: str) -> None:
        """Move a job to the trash.

        Raises:
            NotFound: it is not the owner's.
            UserError: it runs.
        """
        self._studio.job(owner, job_id)
        if not self.delete(owner, [job_id]).ids:
            raise UserError("This job is running; cancel it first")

    def restore(self, owner: str, ids: Sequence[str]) -> list[str]:
        """Bring jobs back; returns the ids of those that were still there."""
        return self._store.from_trash(owner, ids[:MOST])

    def tidy(self, owner: str) -> Deleted:
        """Move everything that failed or was cancelled to the trash."""
        ids: list[str] = []
        for state in ("failed", "cancelled"):
            ids += self.ids(owner, Wanted(state=state))
        return self.delete(owner, ids)

    def empty(self, owner: str) -> int:
        """Remove what is in the trash from the disk now; returns how many jobs that were."""
        return self._purge(self._store.trashed(now(), owner))

    def sweep(self) -> int:
        """Remove what has been in the trash long enough, of all owners."""
        return self._purge(self._store.trashed(now() - self.kept))

    def _purge(self, jobs: Sequence[tuple[str, str]]) -> int:
        gone = 0
        for owner, job_id in jobs:
            try:
                self._studio.delete_job(owner, job_id)
            except NotFound:  # another process on this home was quicker
                continue
            gone += 1
        return gone


class Sweeper:
    """Empties the trash of what has been in it long enough, while the studio is open."""

    def __init__(self, studio: Studio) -> None:
        self._library = Library(studio)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is being removed is removed first."""
        self._stopped.set()
        self._thread.join(timeout=10.0)

    def _run(self) -> None:
        pause = _SWEEP_FIRST
        while not self._stopped.wait(pause):
            pause = _SWEEP_EVERY
            try:
                self._library.sweep()
            except (UserError, OSError):  # a full or absent disk; the next time, then
                continue


def kept(settings: Settings) -> timedelta:
    """How long the trash keeps things."""
    return _KEPT_SHARED if settings.shared else _KEPT


def _width(job: JobView) -> float:
    return job.measurements.get("width", (0.0, ""))[0]


def _same(first: JobView, second: JobView) -> bool:
    one, other = first.inputs[0], second.inputs[0]
    return one.path == other.path or (bool(one.sha256) and one.sha256 == other.sha256)
