"""Where a task runs: in a worker process of its own, or in this one.

An executor takes one task and blocks until it has ended, which is also how a cluster would be
driven; the runner knows nothing else of it.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from studio.jobs.perform import ModelCache, perform
from studio.jobs.task import Outcome, Progress, Task

_PATIENCE = 3.0  # seconds that a cancelled worker gets before it is ended


class Executor(Protocol):
    """See the module's text."""

    def run(
        self, task: Task, report: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> Outcome:
        """Perform `task`; `report` and `cancelled` are called from the calling thread."""
        ...

    def warm_up(self) -> None:
        """Start what takes long to start; returns at once."""
        ...

    def close(self) -> None:
        """End everything, the task that is running included."""
        ...


class InlineExecutor:
    """Runs tasks in the calling thread: ZeroGPU Spaces, and tests of the queue itself."""

    def __init__(self) -> None:
        self._cache = ModelCache()
        self._closed = False

    def run(
        self, task: Task, report: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> Outcome:
        """See `Executor`."""
        return perform(task, self._cache, report, lambda: self._closed or cancelled())

    def warm_up(self) -> None:
        """Nothing takes long here."""

    def close(self) -> None:
        """See `Executor`."""
        self._closed = True


class WorkerExecutor:
    """Runs tasks in one spawned process, which is replaced when it dies or does not answer."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Any = None
        self._cancel: Any = None

    def warm_up(self) -> None:
        """See `Executor`."""
        if self._process is not None and self._process.is_alive():
            return
        from studio.jobs.worker import serve

        self._pipe, theirs = self._context.Pipe()
        self._cancel = self._context.Event()
        self._process = self._context.Process(
            target=serve, args=(theirs, self._cancel, list(sys.path)), daemon=True,
            name="noise-studio-worker",
        )  # fmt: skip
        self._process.start()
        theirs.close()

    def run(
        self, task: Task, report: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> Outcome:
        """See `Executor`."""
        self.warm_up()
        self._cancel.clear()
        begun = time.monotonic()
        asked: float | None = None
        try:
            self._pipe.send(task)
            while True:
                if self._pipe.poll(0.1):
                    message = self._pipe.recv()
                    if isinstance(message, Outcome):
                        return message
                    report(message)
                if asked is None and cancelled():
                    asked = time.monotonic()
                    self._cancel.set()
                if asked is not None and time.monotonic() - asked > _PATIENCE:
                    self.close()
                    return Outcome("cancelled", seconds=time.monotonic() - begun)
        except (EOFError, OSError):
            self._process.join(timeout=5)
            code = self._process.exitcode
            self.close()
            if asked is not None:
                return Outcome("cancelled", seconds=time.monotonic() - begun)
            return Outcome("failed", _died(code), seconds=time.monotonic() - begun)

    def close(self) -> None:
        """See `Executor`."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join(timeout=5)
            self._pipe.close()


def _died(code: int | None) -> str:
    if code == -9:
        return (
            "The worker was ended by the system, most likely for want of memory; "
            "choose a smaller tile, or close other programs, and run it again"
        )
    return (
        f"The worker stopped in the middle of this file (code {code}); run it again, "
        "and if it stops again this file cannot be read"
    )
