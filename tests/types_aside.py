"""The type checker, run beside the tests that leave it a core; alone it takes minutes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEST = "test_types"


class Checker:
    """basedpyright over the whole source, behind whatever else wants the machine."""

    def __init__(self, said: IO[str]) -> None:
        self._said = said
        self._process = subprocess.Popen(
            [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable],
            cwd=ROOT, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
        os.setpriority(os.PRIO_PROCESS, self._process.pid, 5)
        # Tests look at the processes that this one has; a zombie would be among them.
        Thread(target=self._process.wait, daemon=True).start()

    def result(self) -> tuple[int, str]:
        """Wait for it; its exit code and what it said."""
        code = self._process.wait()
        self._said.seek(0)
        return code, self._said.read()

    def stop(self) -> None:
        """End it and what it started, whether or not it was done."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="session")
def type_checker() -> Iterator[Checker]:
    """The checker at work."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        checker = Checker(said)
        yield checker
        checker.stop()


@pytest.fixture(scope="session")
def _types_are_checked(request: pytest.FixtureRequest) -> bool:
    return any(item.name == TEST for item in request.session.items)


@pytest.fixture(autouse=True)
def _begins_behind_the_browser(request: pytest.FixtureRequest, _types_are_checked: bool) -> None:
    """A browser and a studio want both cores."""
    if _types_are_checked and "browser" not in request.path.parts:
        request.getfixturevalue("type_checker")
