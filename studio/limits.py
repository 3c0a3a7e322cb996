"""What one visitor may use of a shared studio; the person at this machine has no limits but disk.

A limit of 0 is none. All numbers are settings; see `studio.config` for their names.
"""

from __future__ import annotations

import math
import shutil
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

from engines import registry
from engines.base import UserError
from studio.config import KEPT, LOCAL, Settings

_HOUR = 3600.0
_OWNERS = 10_000
_PLENTY = 2**62  # bytes
_SESSIONS, _JOBS_OF_ONE = 100, 1000  # of a visitor: rows take space that no file does


class LimitReached(UserError):
    """Too much for one visitor, or for this machine at present."""


class Counts(Protocol):
    """What is asked of the store."""

    def waiting(self, owner: str) -> int:
        """Jobs of an owner that wait."""
        ...

    def waiting_of_all(self) -> int:
        """Jobs of everybody that wait."""
        ...


class Limits:
    """Says no before anything is kept or queued; thread-safe, as it only counts."""

    def __init__(
        self, settings: Settings, store: Counts, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._asked: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(
        self, owner: str, engine_id: str, items: Sequence[Sequence[Path]], stored: Callable[[], int]
    ) -> None:
        """Check a request for jobs, one an item, and count it.

        Args:
            owner: whose jobs they would be.
            engine_id: their engine.
            items: the files of each.
            stored: bytes that the owner keeps here; asked only where that is limited.

        Raises:
            LimitReached: it is too much.
        """
        settings = self._settings
        if self._store.waiting(owner) + len(items) > settings.max_waiting_jobs:
            raise LimitReached(
                f"At most {settings.max_waiting_jobs} jobs may wait; "
                "let some finish, or choose fewer files"
            )
        if not self.applies(owner):
            return
        if settings.max_waiting_all and (
            self._store.waiting_of_all() + len(items) > settings.max_waiting_all
        ):
            raise LimitReached("Too many people are waiting already; come back in a few minutes")
        if engine_id in registry.aside_ids():  # a look takes little, and replaces the one before
            return
        files = sum(len(item) for item in items)
        if settings.max_files and files > settings.max_files:
            raise LimitReached(f"At most {settings.max_files} files can be run at once here")
        if settings.max_stored_mb and stored() > settings.max_stored_mb * 2**20:
            self.refuse_bytes()
        self.check_disk()
        self._count(owner, len(items))

    def applies(self, owner: str) -> bool:
        """Whether an owner is a visitor rather than the person at this machine."""
        return self._settings.shared and owner not in (LOCAL, KEPT)

    def room(self, owner: str, stored: int) -> int:
        """Bytes that an owner who keeps `stored` of them may still send.

        Raises:
            LimitReached: the disk has no room for anybody.
        """
        self.check_disk()
        if not self.applies(owner) or not self._settings.max_stored_mb:
            return _PLENTY
        return max(0, self._settings.max_stored_mb * 2**20 - stored)

    def check_sessions(self, owner: str, kept: int, jobs: int = 0) -> None:
        """See that a visitor may have one more session, with so many jobs that have ended.

        Raises:
            LimitReached: there are enough, or it is too large.
        """
        if not self.applies(owner):
            return
        if kept >= _SESSIONS:
            raise LimitReached(f"At most {_SESSIONS} sessions are kept here; delete one first")
        if jobs > _JOBS_OF_ONE:
            raise LimitReached(f"A session of more than {_JOBS_OF_ONE} jobs is too large here")

    def refuse_bytes(self) -> NoReturn:
        """Say that a visitor keeps as much as may be kept.

        Raises:
            LimitReached: always.
        """
        raise LimitReached(
            f"One visitor can keep up to {self._settings.max_stored_mb} MB here; delete results or "
            "a session that you no longer need, or send less"
        )

    def check_disk(self) -> None:
        """See that enough stays free for what runs.

        Raises:
            LimitReached: it does not.
        """
        least = self._settings.min_free_mb * 2**20
        if self._settings.shared and shutil.disk_usage(self._settings.home).free < least:
            raise LimitReached("This studio has no room for more files at present; try again later")

    def _count(self, owner: str, jobs: int) -> None:
        most = self._settings.max_jobs_hour
        if not most:
            return
        now = self._clock()
        times = self._asked.setdefault(owner, deque())
        self._asked.move_to_end(owner)
        while len(self._asked) > _OWNERS:
            self._asked.popitem(last=False)
        while times and now - times[0] > _HOUR:
            times.popleft()
        if len(times) + jobs > most:
            minutes = math.ceil((_HOUR - (now - times[0])) / 60) if times else 60
            raise LimitReached(
                f"At most {most} jobs an hour can be run here; go on in {minutes} minutes"
            )
        times.extend([now] * jobs)


def told(settings: Settings) -> str:
    """What a visitor has to know of limits and of how long files stay, in sentences."""
    if not settings.shared:
        return ""
    kinds = [f"up to {settings.max_upload_mb} MB a file"]
    if settings.max_megapixels:
        kinds.append(f"{settings.max_megapixels:g} megapixels")
    if settings.max_media_minutes:
        kinds.append(f"{settings.max_media_minutes:g} minutes of sound or film")
    if settings.max_files:
        kinds.append(f"{settings.max_files} files at once")
    work = [f"{settings.max_waiting_jobs} waiting jobs"] if settings.space else []
    if settings.max_jobs_hour:
        work.append(f"{settings.max_jobs_hour} jobs an hour")
    if settings.max_job_minutes:
        work.append(f"{settings.max_job_minutes:g} minutes a job")
    if settings.max_stored_mb:
        work.append(f"{settings.max_stored_mb} MB kept")
    whose = "log-in" if settings.auth else "browser"
    sentences = [
        f"Your files and results are seen by this {whose} alone.",
        f"Limits: {', '.join(kinds + work)}.",
    ]
    if settings.keep_hours:
        hours = f"{settings.keep_hours:g} hour{'' if settings.keep_hours == 1 else 's'}"
        sentences.append(
            f"A session with all its files is deleted {hours} after its last run, or at once when "
            "you delete it."
        )
    if settings.space and not settings.persistent:
        sentences.append("A restart of this Space deletes everything; save what you want to keep.")
    return " ".join(sentences)
