"""A part of a job, for what reports its own progress from 0 to its end."""

from __future__ import annotations

from engines.base import Job


class Share:
    """A job whose progress runs over a part of another's; all else is the other's."""

    def __init__(self, job: Job, begin: float, end: float) -> None:
        """`begin` and `end` are of 100."""
        self._job, self._begin, self._end = job, begin, end

    def __getattr__(self, name: str) -> object:
        """See `engines.base.Job`."""
        return getattr(self._job, name)

    def progress(self, done: float, total: float, text: str) -> None:
        """See `engines.base.Job`."""
        self._job.progress(self._begin + (self._end - self._begin) * done / total, 100, text)
