"""Deletes what visitors left, as long after its last use as the page says."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from engines.base import UserError
from studio.jobs.task import RESUMABLE
from studio.jobs.visited import Visited
from studio.unpack import UNPACKED
from studio.workspace import remove_old, remove_tree

if TYPE_CHECKING:
    from studio.jobs.service import Studio

_EVERY = 60.0  # seconds
_FORGOTTEN = 3600.0  # seconds after which an upload that no event took is gone


class Retention:
    """A thread of a studio that strangers reach; the one process that does the jobs sweeps."""

    def __init__(self, studio: Studio, visited: Visited) -> None:
        self._studio = studio
        self._visited = visited
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Begin, where there is anything to delete."""
        if self._studio.settings.shared:
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=10)

    def sweep(self) -> int:
        """Delete what is due now; returns how many sessions that were."""
        settings, gone = self._studio.settings, 0
        _remove_uploads(settings.temporary)
        if not settings.keep_hours:
            return 0
        for session_id in self._visited.expired(settings.keep_hours):
            if self._visited.remove_expired(session_id, settings.keep_hours):
                remove_tree(settings.outputs / session_id)
                remove_tree(settings.uploads / session_id)
                gone += 1
        self._visited.remove_presets_of_nobody(settings.keep_hours)
        # Unfinished work and unpacked models are of some visitor, and nothing says of which.
        for folder in (settings.cache / RESUMABLE, settings.cache / UNPACKED):
            if folder.is_dir():
                remove_old(folder, settings.keep_hours * 3600)
        return gone

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY):
            if not self._studio.is_runner:
                continue
            try:
                self.sweep()
            except (OSError, SQLAlchemyError, UserError) as error:  # the next minute tries again
                sys.stderr.write(f"What is due for deletion stays for now: {error}\n")


def _remove_uploads(temporary: Path) -> None:
    """Remove what was sent and never taken: `temporary`/<visitor>/<upload>/<file>."""
    before = time.time() - _FORGOTTEN
    for folder in temporary.glob("*/*"):
        with suppress(FileNotFoundError):
            newest = max([folder.stat().st_mtime, *(p.stat().st_mtime for p in _inside(folder))])
            if newest < before:
                remove_tree(folder) if folder.is_dir() else os.unlink(folder)
    for folder in temporary.glob("*"):
        with suppress(OSError):  # not empty, or no folder
            folder.rmdir()


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
