"""Several studios, on several machines, with one database: who lives, and whose jobs are nobody's.

Every studio raises `jobs.beat` of the jobs that it has begun. Another one that sees the same beat
for half a minute of its own time takes such a job over. Nobody's clock is compared with another's,
and none that somebody sets counts. On SQLite there is one studio, and none of this happens.
"""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from studio.config import Settings
from studio.jobs.recovery import take_over
from studio.jobs.store import Store
from studio.jobs.store_runner import Leftover
from studio.transaction import CannotWrite

BEAT_EVERY = 2.0  # seconds
LOST_AFTER = 30.0  # seconds without a beat


class Keeper:
    """A thread beside the runner's; see the module's text."""

    def __init__(self, store: Store, settings: Settings, wake: Callable[[], None]) -> None:
        self._store = store
        self._settings = settings
        self._wake = wake
        self._watch = Watch(LOST_AFTER)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def introduce(self) -> None:
        """Take the name that this machine's studio has on this home, whichever process it is.

        Who holds the runner's lock calls this: what the last holder had begun is then its own.
        """
        if not self._store.shared:
            return
        file = self._settings.runner_lock.with_suffix(".id")
        name = file.read_text(encoding="ascii").strip() if file.is_file() else ""
        if len(name) != 32:
            name = secrets.token_hex(16)
            _write(file, name)
        self._store.me = name

    def start(self) -> None:
        """Begin to beat and to watch, where there is anybody to see it."""
        if self._store.shared and self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(BEAT_EVERY):
            try:
                self._store.beat()
                others = [job for job in self._store.leftovers() if job.runner != self._store.me]
                if take_over(self._store, self._settings, self._watch.lost(others)):
                    self._wake()
            except (SQLAlchemyError, CannotWrite, OSError):
                self._watch.forget()  # nobody was watched while the database was away
            except Exception as error:
                sys.stderr.write(f"Other studios cannot be watched: {error}\n")


class Watch:
    """Which jobs have stood still for `patience` seconds of looking at them."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._seen: dict[str, tuple[str | None, int, float]] = {}

    def lost(self, jobs: Iterable[Leftover]) -> list[Leftover]:
        """Those of nobody at once, and those whose studio was not heard for so long."""
        now, before = time.monotonic(), self._seen
        self._seen, lost = {}, list[Leftover]()
        for job in jobs:
            runner, beat, since = before.get(job.id, (job.runner, job.beat, now))
            if (runner, beat) != (job.runner, job.beat):
                since = now
            self._seen[job.id] = (job.runner, job.beat, since)
            if job.runner is None or now - since >= self._patience:
                lost.append(job)
        return lost

    def forget(self) -> None:
        """Begin to watch anew."""
        self._seen = {}


def _write(file: Path, text: str) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(text, encoding="ascii")
    partial.replace(file)
