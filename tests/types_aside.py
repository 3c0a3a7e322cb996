"""The type checker, started before the first test: it takes minutes of a core that they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
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


@pytest.fixture(autouse=True, scope="session")
def _begins_with_the_first_test(request: pytest.FixtureRequest) -> None:
    if any(item.name == TEST for item in request.session.items):
        request.getfixturevalue("type_checker")
