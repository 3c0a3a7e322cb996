"""The worker process: takes tasks from a pipe, one at a time, and dies with its parent."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from importlib import import_module
from multiprocessing.connection import Connection

from studio.jobs.perform import ModelCache, perform
from studio.jobs.task import Task

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, <linux/prctl.h>


def serve(pipe: Connection, stop: Connection, path: list[str]) -> None:
    """Main function of the process.

    Args:
        pipe: receives a `Task` or None (stop); gets `Progress` and at the end an `Outcome`.
        stop: receives the id of a job that is to stop.
        path: the parent's module path, so that engines registered there can be imported here.
    """
    sys.path[:] = path
    # A terminal and a service manager tell the whole group to stop; the studio ends us in its turn.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.dup2(2, 1)  # a library that prints must not get into the command line's JSON
    _die_with_parent()
    cache = ModelCache()
    _warm_up()
    while True:
        try:
            task = pipe.recv()
            if task is None:
                return
            pipe.send(perform(task, cache, pipe.send, _Asked(stop, task)))
        except (EOFError, BrokenPipeError):
            return


class _Asked:
    """Whether a task is to stop."""

    def __init__(self, stop: Connection, task: Task) -> None:
        self._stop = stop
        self._job_id = task.job_id
        self._asked = False

    def __call__(self) -> bool:
        while self._stop.poll():
            self._asked = self._stop.recv() == self._job_id or self._asked
        return self._asked


def _warm_up() -> None:
    """Import what every job needs while nobody waits yet."""
    import_module("torch")


def _die_with_parent() -> None:
    """Linux kills us, whatever we are in; elsewhere a thread does as soon as it gets its turn."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    threading.Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
