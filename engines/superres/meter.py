"""How far a picture is, and how long it will still take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from engines.base import Job
from engines.progress import duration

_SURE = 2.0  # seconds of work after which a rate is known


@dataclass(frozen=True)
class Pass:
    """Once over the picture.

    Attributes:
        tiles: how many there are.
        work: of each, in any unit.
        text: what is done, where that is not the whole.
        doing: what all of it does, in one word.
    """

    tiles: int
    work: float
    text: str = ""
    doing: str = "enlarging"


class Meter:
    """Counts tiles, and steps within them, over all passes of a picture.

    It is the `engines.superres.upscaler.Steps` that upscalers get.
    """

    def __init__(self, job: Job, begin: float, end: float) -> None:
        """Reports run from `begin` to `end` of 100."""
        self._job, self._begin, self._end = job, begin, end
        self._started = perf_counter()
        self._passes = [Pass(1, 1.0)]
        self._pass = 0
        self._tile = 0
        self._inside = 0.0
        self._text = ""

    def passes(self, passes: Sequence[Pass]) -> None:
        """What will be done."""
        self._passes = list(passes) or [Pass(1, 1.0)]
        self._started = perf_counter()

    def replan(self, tiles: int) -> None:
        """So many tiles are left in this pass."""
        now = self._passes[self._pass]
        self._passes[self._pass] = replace(now, tiles=self._tile + tiles)

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

    def next_pass(self) -> None:
        """A pass is finished."""
        self._pass = min(self._pass + 1, len(self._passes) - 1)
        self._tile = 0

    def _report(self) -> None:
        total = sum(one.tiles * one.work for one in self._passes)
        before = sum(one.tiles * one.work for one in self._passes[: self._pass])
        now = self._passes[self._pass]
        share = min((before + (self._tile + self._inside) * now.work) / total, 1.0)
        taken = perf_counter() - self._started
        left = ""
        if 0.0 < share < 1.0 and taken > _SURE:
            left = f", {duration(taken * (1.0 - share) / share)} left"
        done = self._begin + (self._end - self._begin) * share
        which = f"{now.text}, " if now.text else ""
        shown = min(self._tile + 1, now.tiles)
        self._job.progress(
            done, 100, f"{now.doing}, {which}tile {shown} of {now.tiles}{self._text}{left}"
        )
