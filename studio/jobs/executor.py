"""Where a task runs: in a worker process of its own, or in this one; on a cluster, see `cluster`.

An executor takes one task and blocks until it has ended; the runner knows nothing else of it but
how many tasks it takes at once, each from a thread of its own.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, Protocol

from studio.jobs.perform import ModelCache, perform
from studio.jobs.task import Outcome, Progress, Task

# Seconds that a cancelled worker gets before it is ended. A person waits for three at most, and a
# request from another process is seen half a second late.
_PATIENCE = 2.0


class Executor(Protocol):
    """See the module's text."""

    def run(
        self, task: Task, report: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> Outcome:
        """Perform `task`; `report` and `cancelled` are called from the calling thread."""
        ...

    def slots(self) -> int:
        """How many tasks it takes at once now; 0 while it takes none."""
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

    def slots(self) -> int:
        """See `Executor`."""
        return 1

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
        self._stop: Any = None

    def slots(self) -> int:
        """See `Executor`."""
        return 1

    def warm_up(self) -> None:
        """See `Executor`."""
        if self._process is None:
            self._start()

    def _start(self) -> None:
        from studio.jobs.worker import serve

        # Two pipes and no lock: a process that is killed can take nothing with it that we wait for.
        self._pipe, their_pipe = self._context.Pipe()
        their_stop, self._stop = self._context.Pipe(duplex=False)
        self._process = self._context.Process(
            target=serve, args=(their_pipe, their_stop, list(sys.path)), daemon=True,
            name="noise-studio-worker",
        )  # fmt: skip
        with _ctrl_c_held_back():
            self._process.start()
        their_pipe.close()
        their_stop.close()

    def run(
        self, task: Task, report: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> Outcome:
        """See `Executor`."""
        if self._process is None or not self._process.is_alive():
            self.close()
            self._start()
        pipe, stop = self._pipe, self._stop
        process: Any = self._process
        begun = time.monotonic()
        asked: float | None = None
        try:
            _send(pipe, task)
            while asked is None or time.monotonic() - asked < _PATIENCE:
                message = _receive(pipe, process)
                if isinstance(message, Outcome):
                    return message
                if message is not None:
                    report(message)
                if asked is None and cancelled():
                    asked = time.monotonic()
                    _send(stop, task.job_id)
        except _Gone:
            process.join(timeout=5)
        except BaseException:
            self.close()  # what it still says of this task must not be heard as the next one's
            raise
        code = process.exitcode
        self.close()
        seconds = time.monotonic() - begun
        if asked is not None:
            return Outcome("cancelled", seconds=seconds)
        return Outcome("failed", _died(code), seconds=seconds)

    def close(self) -> None:
        """See `Executor`."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join(timeout=5)
            self._pipe.close()
            self._stop.close()


@contextmanager
def _ctrl_c_held_back() -> Generator[None]:
    """What is started within never hears Ctrl-C, not even while it still imports.

    A terminal sends it to the whole group; it is for the studio, which then cancels.
    """
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # spawning starts it otherwise, which lets the signal through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Gone(Exception):
    """The worker is no longer there."""


def _send(pipe: Any, message: Task | str) -> None:
    try:
        pipe.send(message)
    except OSError as error:
        raise _Gone from error


def _receive(pipe: Any, process: Any) -> Progress | Outcome | None:
    """The next message, or None if none came within a tenth of a second."""
    try:
        # The second look is for what a worker said just before it ended.
        if pipe.poll(0.1) or (not process.is_alive() and pipe.poll()):
            return pipe.recv()
    except (EOFError, OSError) as error:
        raise _Gone from error
    if not process.is_alive():
        raise _Gone
    return None


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
