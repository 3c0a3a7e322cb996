"""How far a picture is, and how long it will still take."""

from __future__ import annotations

from time import perf_counter

from engines.base import Job
from engines.progress import duration

_SURE = 2.0  # seconds of work after which a rate is known


class Meter:
    """Counts tiles, and steps within them, over all stages of a picture.

    It is the `engines.superres.upscaler.Steps` that upscalers get.
    """

    def __init__(self, job: Job, begin: float, end: float) -> None:
        """Reports run from `begin` to `end` of 100."""
        self._job, self._begin, self._end = job, begin, end
        self._started = perf_counter()
        self._stages: list[tuple[int, float]] = [(1, 1.0)]  # tiles, and work of each
        self._stage = 0
        self._tile = 0
        self._inside = 0.0
        self._text = ""

    def stages(self, tiles: list[tuple[int, float]]) -> None:
        """How many tiles each stage has, and how much work (in any unit) a tile of it is."""
        self._stages = tiles or [(1, 1.0)]
        self._started = perf_counter()

    def replan(self, tiles: int) -> None:
        """So many tiles are left in this stage."""
        done, (_, work) = self._tile, self._stages[self._stage]
        self._stages[self._stage] = (done + tiles, work)

    def check(self) -> None:
        """Raise `Cancelled` if the person asked for a stop."""
        self._job.check_cancelled()

    def step(self, done: int, total: int) -> None:
        """See `engines.superres.upscaler.Steps`."""
        self._inside = min(done / max(total, 1), 1.0)
        self._text = f", step {min(done + 1, total)} of {total}"
        self._report()

    def tile(self) -> None:
        """A tile is finished."""
        self._tile += 1
        self._inside, self._text = 0.0, ""
        self._report()

    def next_stage(self) -> None:
        """A stage is finished."""
        self._stage = min(self._stage + 1, len(self._stages) - 1)
        self._tile = 0

    def _report(self) -> None:
        total = sum(count * work for count, work in self._stages)
        before = sum(count * work for count, work in self._stages[: self._stage])
        work = self._stages[self._stage][1]
        share = min((before + (self._tile + self._inside) * work) / total, 1.0)
        taken = perf_counter() - self._started
        left = ""
        if 0.0 < share < 1.0 and taken > _SURE:
            left = f", {duration(taken * (1.0 - share) / share)} left"
        tiles = sum(count for count, _ in self._stages)
        number = sum(count for count, _ in self._stages[: self._stage]) + self._tile
        done = self._begin + (self._end - self._begin) * share
        shown = min(number + 1, tiles)
        self._job.progress(done, 100, f"enlarging, tile {shown} of {tiles}{self._text}{left}")
