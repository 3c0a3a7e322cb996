"""What the worker holds between jobs, as it said at the end of the last one."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

from studio.jobs.task import Outcome


@dataclass(frozen=True)
class Held:
    """Weights that are loaded.

    Attributes:
        models: id, bytes and device of each.
        bytes: memory of the worker's process now.
    """

    models: tuple[tuple[str, int, str], ...]
    bytes: int


class WorkerMemory:
    """Remembers the last outcome's word, and asks the system how large the process is now."""

    def __init__(self) -> None:
        self._worker = 0
        self._models: tuple[tuple[str, int, str], ...] = ()

    def note(self, outcome: Outcome) -> None:
        """A job has ended; where its worker was ended with it, nothing is held."""
        self._worker, self._models = outcome.worker, outcome.held

    def now(self) -> Held | None:
        """What is held; None where no worker of this machine has done a job yet."""
        try:
            process = psutil.Process(self._worker) if self._worker else None
            if process is None or os.getpid() not in (process.pid, process.ppid()):
                return None
            return Held(self._models, process.memory_info().rss)
        except psutil.Error:
            return None
