"""`test`: the tests, which come with the repository and not with an installed package."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from studio.commands import output

ROOT = Path(__file__).resolve().parents[2]


def test(arguments: Sequence[str]) -> int:
    """Run pytest with these arguments; returns its exit code."""
    if not (ROOT / "tests" / "conftest.py").is_file():
        output.say(
            "The tests come with the repository; clone it and run python launch.py test there"
        )
        return 2
    if find_spec("pytest") is None:
        output.say("The tests need pytest and more; python launch.py test installs them")
        return 2
    alone = os.name == "posix" and not sys.stdin.isatty()  # a debugger wants the terminal
    with subprocess.Popen(  # noqa: S603 - pytest, as the person asked
        [sys.executable, "-m", "pytest", *arguments], cwd=ROOT, start_new_session=alone
    ) as running:
        try:
            return running.wait()
        except KeyboardInterrupt:
            return 130
        finally:
            if alone:  # processes that a test left behind hold the output, and who reads it waits
                with suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
