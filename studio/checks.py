"""Whether the weights that are here are whole and fit their networks, asked from the page.

It loads every file, so it is done in a process of its own, as adding one is.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import MappingProxyType

from db.database import close_database, open_database
from engines.base import UserError
from studio.config import Settings
from studio.models import Models


class Checks:
    """One check at a time; what it found stays until the next."""

    def __init__(
        self, settings: Settings, check: Callable[[Settings], Mapping[str, str]] | None = None
    ) -> None:
        self._settings = settings
        self._check = check or _elsewhere
        self._lock = threading.Lock()
        self.running = False
        self.version = 0  # rises whenever there is something else to show
        self.problem = ""
        self.found: Mapping[str, str] = MappingProxyType({})

    def start(self) -> None:
        """Begin, unless one is under way."""
        with self._lock:
            if self.running:
                return
            self.running, self.problem = True, ""
            self.version += 1
        threading.Thread(target=self._run, name="checks", daemon=True).start()

    def _run(self) -> None:
        found: Mapping[str, str] = {}
        problem = ""
        try:
            found = self._check(self._settings)
        except (OSError, RuntimeError, UserError) as error:
            problem = str(error)
        with self._lock:
            self.found, self.problem, self.running = found, problem, False
            self.version += 1


def _elsewhere(settings: Settings) -> Mapping[str, str]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        try:
            return pool.submit(check_models, settings).result()
        except BrokenProcessPool as error:
            raise UserError("The check ended early: a file is damaged, or too large") from error


def check_models(settings: Settings) -> dict[str, str]:
    """See `Models.check`."""
    factory = open_database(settings.url)
    try:
        return dict(Models(settings, factory).check())
    finally:
        close_database(factory)
