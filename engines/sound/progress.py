"""How far a recording is, and how long it will still take, in words."""

from __future__ import annotations

from time import perf_counter

from engines.base import Job
from engines.progress import duration

_SURE = 3.0  # seconds of work after which a rate is known


class Meter:
    """Counts network calls for whoever works on a recording and reports; its `check` cancels."""

    def __init__(self, job: Job, begin: float, end: float, doing: str) -> None:
        """Reports run from `begin` to `end` of 100; `doing` is what the person reads."""
        self._job = job
        self._begin, self._end, self._doing = begin, end, doing
        self._started = perf_counter()
        self._before = 0
        self._done = self._coming = 0.0
        self._expected = 1
        self.calls = 0

    def check(self) -> None:
        """Raise `Cancelled` if the person asked for a stop."""
        self._job.check_cancelled()

    def called(self) -> None:
        """One network call is over."""
        self.calls += 1
        self._report()

    def expect(self, done: float, coming: float, calls: int) -> None:
        """A share `done` of the recording is finished; the next `coming` takes so many calls."""
        self._done, self._coming = done, coming
        self._expected, self._before = max(calls, 1), self.calls
        self._report()

    def _report(self) -> None:
        share = self._done + self._coming * min((self.calls - self._before) / self._expected, 1.0)
        taken = perf_counter() - self._started
        left = ""
        if share > 0.0 and taken > _SURE:
            left = f", {duration(taken * (1.0 - share) / share)} left"
        done = self._begin + (self._end - self._begin) * share
        self._job.progress(done, 100, f"{self._doing}, {100 * share:.0f} %{left}")
