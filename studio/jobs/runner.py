"""The runner: one thread, in one process of those that share a home, that does waiting jobs."""

from __future__ import annotations

import errno
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from engines import registry
from engines.base import UserError
from engines.weights import ModelFile
from studio.config import Settings
from studio.jobs.delivery import Delivery
from studio.jobs.executor import Executor
from studio.jobs.keeper import Keeper
from studio.jobs.memory import WorkerMemory
from studio.jobs.recovery import recover
from studio.jobs.store import Store
from studio.jobs.store_runner import Claimed
from studio.jobs.task import FileFacts, Outcome, Progress, Task
from studio.transaction import CannotWrite
from studio.workspace import printable, remove_tree

_LOOK_EVERY = 0.5  # seconds between looks for jobs that another process queued
_WRITE_EVERY = 0.25  # seconds between progress rows
_RETRY_EVERY = 1.0  # seconds until a database that could not be written is tried again
_STOP_WITHIN = 15.0  # seconds for the running job to end


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
        self._lock = FileLock(settings.runner_lock, thread_local=False)
        self._keeper = Keeper(store, settings, self.wake)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._failure: Exception | None = None
        self._recovered = False
        self._asked = False
        self._said = ""
        self._cancelled: set[str] = set()
        self.memory = WorkerMemory()
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)
        self._beside: list[threading.Thread] = []  # jobs of an executor that takes several

    @property
    def holds_lock(self) -> bool:
        """Whether this process does the jobs."""
        return self._lock.is_locked

    def start(self) -> None:
        """Start the thread; returns once it is known who runs the queue.

        A disk that is full or cannot be reached only lets the queue wait.

        Raises:
            Exception: whatever else kept the queue from starting.
        """
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End the running job (it is interrupted, and goes on at the next start) and the thread."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=_STOP_WITHIN)
        ends = time.monotonic() + _STOP_WITHIN
        for thread in self._beside:
            thread.join(timeout=max(0.0, ends - time.monotonic()))
        self._keeper.stop()
        self._executor.close()
        ended = [self._thread, *self._beside]
        if not any(thread.is_alive() for thread in ended):  # else until this process is gone
            self._lock.release()

    def wake(self) -> None:
        """There is a new job."""
        self._wake.set()

    def cancel(self, job_id: str) -> None:
        """Somebody asked for a stop; quicker than waiting for the next progress row."""
        self._cancelled.add(job_id)

    def _run(self) -> None:
        first = True
        while not self._stop.is_set():
            try:
                worked = self._look(first)
            except Exception as error:
                if first and not isinstance(error, OSError | SQLAlchemyError | CannotWrite):
                    self._failure = error
                    self._ready.set()
                    return
                self._complain(f"The queue waits: {error}")
                self._ready.set()
                worked = not self._stop.wait(_RETRY_EVERY)
            first = False
            self._ready.set()
            if not worked:
                self._wake.wait(_LOOK_EVERY)

    def _look(self, first: bool) -> bool:
        """Take the lock if it is free, and do the next job; False if there is nothing to do."""
        self._wake.clear()
        if not self._recovered:
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                return False
            self._keeper.introduce()
            recover(self._store, self._settings, alone=first)
            self._keeper.start()
            self._recovered = True
            self._ready.set()
        self._executor.warm_up()
        self._beside = [thread for thread in self._beside if thread.is_alive()]
        slots = self._executor.slots()
        if len(self._beside) >= slots:
            return False
        job = self._store.claim(self._settings.device, asked=self._asked)
        if job is None:
            return False
        self._asked = job.engine in registry.aside_ids()
        if slots == 1 and not self._beside:
            self._perform(job)
        else:
            thread = threading.Thread(target=self._perform_beside, args=(job,), daemon=True)
            self._beside.append(thread)
            thread.start()
        return True

    def _perform_beside(self, job: Claimed) -> None:
        try:
            self._perform(job)
        except Exception as error:  # the next start takes up what is left of it
            self._complain(f"A job could not be brought to an end: {error}")
        self._wake.set()

    def _perform(self, job: Claimed) -> None:
        self._cancelled.discard(job.id)  # of an earlier run; a new request is in the database
        delivery = Delivery(self._settings.outputs / job.session_id, job.id, job.out_dir)
        files: list[tuple[FileFacts, Path]] = []
        try:
            delivery.prepare()
            outcome = self._executor.run(
                self._task(job, delivery.workspace), self._reporter(job.id), self._asker(job.id)
            )
            self.memory.note(outcome)
            if outcome.state == "done":
                files = delivery.deliver(
                    outcome.files,
                    lambda moves: self._store.journal(job.id, moves),
                    lambda: self._still_ours(job.id),
                )
        except Exception as error:  # the queue goes on whatever one job does to it
            outcome = Outcome("failed", _cannot_keep(error, job.out_dir))
        if outcome.state == "done":
            try:
                if self._store.finish(job.id, outcome, files):
                    self._tidy(job.id, delivery, delivery.settle)
                    self._drop_before(job)
                    return
            except Exception as error:
                outcome = Outcome("failed", _cannot_keep(error, job.out_dir), outcome.seconds)
        if self._taken_over(job.id):
            self._tidy(job.id, delivery, delivery.forget)
            return
        self._tidy(job.id, delivery, delivery.abandon)
        if self._stop.is_set():
            self._store.interrupt(job.id)
        else:
            self._record(job.id, outcome)

    def _taken_over(self, job_id: str) -> bool:
        """Whether another studio does it: this one was thought gone, or the database was."""
        if not self._store.shared:
            return False
        try:
            return self._store.taken_over(job_id)
        except SQLAlchemyError:
            return True  # if it is not, the next start clears up what the journal names

    def _still_ours(self, job_id: str) -> None:
        if self._taken_over(job_id):
            raise UserError("Another studio does this job")

    def _record(self, job_id: str, outcome: Outcome) -> None:
        """Note how a job ended, once the disk allows it; the next start does it otherwise."""
        while True:
            try:
                self._store.finish(job_id, outcome)
                return
            except CannotWrite as error:
                self._complain(f"A job that has ended waits to be recorded: {error}")
            if self._stop.wait(_RETRY_EVERY):
                return

    def _tidy(self, job_id: str, delivery: Delivery, clear: Callable[[], None]) -> None:
        """Remove temporary names; what cannot be removed now stays journaled for the next start."""
        try:
            clear()
            if delivery.moves:
                self._store.settled(job_id)
        except (OSError, CannotWrite) as error:
            self._complain(f"A temporary file stays until the next start: {error}")

    def _drop_before(self, job: Claimed) -> None:
        """Remove the files of the step before, where a recipe does not keep them."""
        if job.parent is not None and not self._store.has_results(job.parent):
            remove_tree(self._settings.outputs / job.session_id / job.parent)

    def _reporter(self, job_id: str) -> Callable[[Progress], None]:
        written = time.monotonic()

        def report(progress: Progress) -> None:
            nonlocal written
            if time.monotonic() - written < _WRITE_EVERY:
                return
            written = time.monotonic()
            try:
                self._store.progress(job_id, progress)
            except CannotWrite as error:  # no reason to lose the job
                self._complain(str(error))

        return report

    def _asker(self, job_id: str) -> Callable[[], bool]:
        looked = time.monotonic()
        asked = False

        def cancelled() -> bool:
            nonlocal looked, asked
            if time.monotonic() - looked >= _LOOK_EVERY:  # another process may have been asked
                looked = time.monotonic()
                with suppress(SQLAlchemyError):  # no reason to lose the job
                    asked = self._store.cancel_requested(job_id)
            return asked or self._stop.is_set() or job_id in self._cancelled

        return cancelled

    def _complain(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            with suppress(OSError):  # what keeps this from being said may be the same full disk
                sys.stderr.write(f"{sentence}\n")
                sys.stderr.flush()

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
            owner=job.owner,
            cache=str(self._settings.cache),
            cameras=tuple(self._store.cameras(job.owner)),
        )


def _cannot_keep(error: Exception, out_dir: Path | None) -> str:
    """Why a job failed that the engine did not fail at."""
    if isinstance(error, UserError):
        return str(error)
    if not isinstance(error, OSError):
        return f"The result could not be kept ({type(error).__name__}: {error}); run it again"
    where = printable(out_dir.name) if out_dir is not None else "the studio's folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk that holds {where} is full; free some space and run it again"
    return f"Nothing can be written to {where} ({error.strerror}); choose another folder"
