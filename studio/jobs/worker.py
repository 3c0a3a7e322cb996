"""The worker process: takes tasks from a pipe, one at a time, and dies with its parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

from studio.jobs.perform import ModelCache, perform


def serve(pipe: Connection, cancel: Event, path: list[str]) -> None:
    """Main function of the process.

    Args:
        pipe: receives a `Task` or None (stop); gets `Progress` and at the end an `Outcome`.
        cancel: set while the current task is to stop.
        path: the parent's module path, so that engines registered there can be imported here.
    """
    sys.path[:] = path
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the studio, which then cancels
    os.dup2(2, 1)  # a library that prints must not get into the command line's JSON
    threading.Thread(target=_die_with_parent, daemon=True).start()
    cache = ModelCache()
    _warm_up()
    while True:
        try:
            task = pipe.recv()
            if task is None:
                return
            pipe.send(perform(task, cache, pipe.send, cancel.is_set))
        except (EOFError, BrokenPipeError):
            return


def _warm_up() -> None:
    """Import what every job needs while nobody waits yet."""
    import torch  # noqa: F401


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
