"""Files of a batch on the machines of a Dask cluster; see docs/cluster.md.

Every machine has the studio's code and sees the studio's folder and the inputs at the same paths.
The studio alone touches database and final files: a machine of the cluster only fills a job's
workspace. Where a process of the cluster ends in the middle, Dask gives the task to another one,
which begins anew in a folder of its own, so nothing of the first attempt counts.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.base import UserError
from studio.jobs.perform import ModelCache, perform
from studio.jobs.task import Outcome, Progress, Task
from studio.workspace import MARK, remove_tree

SCHEME = "dask://"
_CONNECT_WITHIN = 10.0  # seconds
_LOOK_EVERY = 0.1
_STOPS_WITHIN = 10.0  # seconds that a cancelled task gets before it is left to itself
_ASK_EVERY = 0.5  # seconds between two looks of a task whether it is to stop
_cache = ModelCache()  # of a process of the cluster, for all its tasks
_alone = threading.Lock()  # generators of random numbers belong to the process: one task at a time


class DaskExecutor:
    """Runs as many tasks at once as the cluster has processes; see `Executor`.

    Args:
        address: such as dask://192.168.1.5:8786.

    Raises:
        UserError: Dask is not installed, or nothing answers at that address.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise UserError(
                "A cluster needs more packages: pip install dask distributed"
            ) from error
        place = address.removeprefix(SCHEME).rstrip("/")
        try:
            self._client: Any = Client(f"tcp://{place}", timeout=_CONNECT_WITHIN)
        except (OSError, ValueError) as error:  # a timeout is an OSError
            raise UserError(f"No Dask scheduler answers at {place}; check the address") from error
        self._topic = f"noise-studio-{secrets.token_hex(8)}"
        self._said: dict[str, Progress] = {}
        self._client.subscribe_topic(self._topic, self._hear)

    def slots(self) -> int:
        """How many tasks can be under way; none while the scheduler is away."""
        if self._client.status != "running":
            return 0
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def run(
        self, task: Task, report: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> Outcome:
        """See `Executor`."""
        import distributed

        begun, asked = time.monotonic(), None
        named = f"{self._topic}-{task.job_id}-{secrets.token_hex(4)}"
        stop: Any = distributed.Event(named, client=self._client)
        future = self._client.submit(
            perform_there, task, self._topic, named, pure=False,
            key=f"{task.job_id}-{secrets.token_hex(4)}",
        )  # fmt: skip
        try:
            while not future.done():
                time.sleep(_LOOK_EVERY)
                said = self._said.pop(task.job_id, None)
                if said is not None:
                    report(said)
                if asked is None and cancelled():
                    asked = time.monotonic()
                    stop.set()
                if asked is not None and time.monotonic() - asked > _STOPS_WITHIN:
                    return Outcome("cancelled", seconds=time.monotonic() - begun)
            return future.result()
        except Exception as error:  # whatever a cluster can come to
            seconds = time.monotonic() - begun
            if asked is not None:
                return Outcome("cancelled", seconds=seconds)
            return Outcome("failed", _why(error), seconds=seconds)
        finally:
            future.release()
            self._said.pop(task.job_id, None)

    def warm_up(self) -> None:
        """The machines of the cluster are there already."""

    def close(self) -> None:
        """See `Executor`; the cluster itself goes on."""
        with suppress(Exception):
            self._client.close(timeout=5)

    def _hear(self, event: tuple[float, Any]) -> None:
        job_id, done, total, text = event[1]
        self._said[str(job_id)] = Progress(float(done), float(total), str(text))


def perform_there(task: Task, topic: str, stop: str) -> Outcome:
    """Perform a task in a process of the cluster, in a folder of this attempt alone."""
    import distributed

    there: Any = distributed
    worker, wish = there.get_worker(), there.Event(stop, client=there.get_client())
    looked, wanted = 0.0, False

    def cancelled() -> bool:
        nonlocal looked, wanted
        if not wanted and time.monotonic() - looked >= _ASK_EVERY:
            looked = time.monotonic()
            wanted = bool(wish.is_set())
        return wanted

    def report(progress: Progress) -> None:
        worker.log_event(topic, (task.job_id, progress.done, progress.total, progress.text))

    workspace = Path(task.workspace)
    if not workspace.is_dir():
        return Outcome(
            "failed",
            "A machine of the cluster does not see the studio's folder; share it at the same path",
        )
    attempt = workspace / f"{MARK}{secrets.token_hex(8)}"
    attempt.mkdir()
    try:
        with _alone:
            outcome = perform(replace(task, workspace=str(attempt)), _cache, report, cancelled)
        if outcome.state == "done":
            for file in outcome.files:
                _put(attempt / file.name, workspace / file.name)
        return replace(outcome, worker=0, held=())  # of no process of the studio's own machine
    finally:
        remove_tree(attempt)


def _put(made: Path, target: Path) -> None:
    """Move what was made up; an attempt that was thought lost may have been first."""
    if target.is_dir():
        remove_tree(target)
    os.replace(made, target)


def _why(error: Exception) -> str:
    if type(error).__name__ == "KilledWorker":
        return (
            "The cluster's processes ended one after another in the middle of this file, most "
            "likely for want of memory; choose a smaller tile and run it again"
        )
    return (
        f"The cluster could not bring this file to an end ({type(error).__name__}); see that its "
        "scheduler runs, and run it again"
    )
