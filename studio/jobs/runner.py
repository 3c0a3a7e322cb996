"""The runner: one thread, in one process of those that share a home, that does waiting jobs."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from engines import registry
from engines.weights import ModelFile
from studio.config import Settings
from studio.jobs.delivery import Delivery
from studio.jobs.executor import Executor
from studio.jobs.recovery import recover
from studio.jobs.store import Claimed, Store
from studio.jobs.task import Outcome, Progress, Task

_LOOK_EVERY = 0.5  # seconds between looks for jobs that another process queued
_WRITE_EVERY = 0.25  # seconds between progress rows


class Runner:
    """Claims jobs while it holds the home's lock; takes over when the holder is gone."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        executor: Executor,
        models: Callable[[], list[ModelFile]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._executor = executor
        self._models = models
        self._lock = FileLock(settings.home / "runner.lock", thread_local=False)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._failure: Exception | None = None
        self._cancelled: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)

    @property
    def holds_lock(self) -> bool:
        """Whether this process does the jobs."""
        return self._lock.is_locked

    def start(self) -> None:
        """Start the thread; returns once it is known who runs the queue.

        Raises:
            Exception: whatever kept the queue from starting.
        """
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End the running job (it is interrupted, and goes on at the next start) and the thread."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=15)
        self._executor.close()
        self._lock.release()

    def wake(self) -> None:
        """There is a new job."""
        self._wake.set()

    def cancel(self, job_id: str) -> None:
        """Somebody asked for a stop; quicker than waiting for the next progress row."""
        self._cancelled.add(job_id)

    def _run(self) -> None:
        try:
            self._loop()
        except Exception as error:
            if self._ready.is_set():
                raise
            self._failure = error
            self._ready.set()

    def _loop(self) -> None:
        recovered = False
        while not self._stop.is_set():
            try:
                if not self._lock.is_locked:
                    self._lock.acquire(timeout=0)
                if not recovered:
                    recover(self._store, self._settings.outputs, self._settings.uploads)
                    recovered = True
                    self._executor.warm_up()
            except Timeout:
                recovered = False
            self._ready.set()
            self._wake.clear()
            claimed = self._store.claim(self._settings.device) if recovered else None
            if claimed is None:
                self._wake.wait(_LOOK_EVERY)
                continue
            try:
                self._perform(claimed)
            except Exception as error:
                # The queue must go on whatever one job does to it.
                sys.stderr.write(f"{claimed.id}: {type(error).__name__}: {error}\n")
                self._store.finish(
                    claimed.id,
                    Outcome("failed", f"The result could not be kept: {error}"),
                )

    def _perform(self, job: Claimed) -> None:
        folder = self._settings.outputs / job.session_id
        delivery = Delivery(folder, job.id, job.out_dir)
        try:
            delivery.prepare()
        except OSError as error:
            self._store.finish(job.id, Outcome("failed", _cannot_write(error, job.out_dir)))
            return
        written = looked = time.monotonic()
        asked = False

        def report(progress: Progress) -> None:
            nonlocal written
            if time.monotonic() - written >= _WRITE_EVERY:
                written = time.monotonic()
                self._store.progress(job.id, progress)

        def cancelled() -> bool:
            nonlocal looked, asked
            if (
                time.monotonic() - looked >= _LOOK_EVERY
            ):  # the request may come from another process
                looked = time.monotonic()
                asked = self._store.cancel_requested(job.id)
            return asked or self._stop.is_set() or job.id in self._cancelled

        outcome = self._executor.run(self._task(job, delivery.workspace), report, cancelled)
        if self._stop.is_set() and outcome.state != "done":
            delivery.abandon()
            self._store.interrupt(job.id)
            return
        try:
            if outcome.state == "done":
                files = delivery.deliver(
                    outcome.files, lambda moves: self._store.journal(job.id, moves)
                )
                if self._store.finish(job.id, outcome, files):
                    delivery.settle()
                else:
                    delivery.abandon()
            else:
                delivery.abandon()
                self._store.finish(job.id, outcome)
        except OSError as error:
            delivery.abandon()
            self._store.finish(job.id, Outcome("failed", _cannot_write(error, job.out_dir)))
        finally:
            self._cancelled.discard(job.id)

    def _task(self, job: Claimed, workspace: Path) -> Task:
        return Task(
            job_id=job.id,
            engine=job.engine,
            engines=registry.added(),
            inputs=job.inputs,
            params=job.params,
            device=job.device,
            seed=job.seed,
            workspace=str(workspace),
            logs=str(self._settings.cache / "logs"),
            models=tuple(file.to_dict() for file in self._models()),
        )


def _cannot_write(error: OSError, out_dir: Path | None) -> str:
    where = out_dir.name if out_dir is not None else "the studio's folder"
    if error.errno in (28, 122):
        return f"The disk that holds {where} is full; free some space and run it again"
    return f"Nothing can be written to {where} ({error.strerror}); choose another folder"
