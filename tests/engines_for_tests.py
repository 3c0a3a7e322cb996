"""Engines for tests of the queue, the command line and the page: no network, no picture, quick.

They are registered by the `tiny_engine` fixture and importable in a spawned worker.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from engines import registry
from engines.base import Job, Measurement, MediaKind, Output, Params, Result, UserError, option

INVERT = "demo.invert"
CRASH = "demo.crash"
_STEP = 0.05  # seconds between two looks at the cancel flag


class InvertParams(Params):
    """One parameter of each type that forms and the command line know."""

    seconds: float = option(
        0.0, title="Seconds", description="How long to take", unit="s", ge=0.0, le=60.0
    )
    repeat: int = option(1, title="Repeat", description="How often to write it", ge=1, le=9)
    upper: bool = option(False, title="Upper case", description="Write it in capitals")
    end: Literal["none", "dot", "mark"] = option(
        "none", title="End", description="What to put at the end"
    )
    without: tuple[str, ...] = option(
        (), title="Without", description="Letters to leave out", advanced=True
    )
    limit: int | None = option(
        None, title="Limit", description="Longest text; empty is any", ge=1, le=1000, advanced=True
    )
    fail: Literal["no", "user", "surprise"] = option(
        "no", title="Fail", description="How to go wrong", advanced=True
    )


class InvertEngine:
    """Writes a text backwards as `<stem>.inverted.txt`."""

    id: ClassVar[str] = INVERT
    title: ClassVar[str] = "Invert"
    tab: ClassVar[str] = "Demo"
    summary: ClassVar[str] = "Writes a text backwards"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("document",)
    suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = InvertParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`."""
        try:
            text = inputs[0].read_text(encoding="utf-8").rstrip("\n")[::-1]
        except UnicodeDecodeError as error:
            raise UserError(f"This is no text; choose a text file: {inputs[0].name}") from error
        _linger(params.seconds, job)
        if params.fail == "user":
            raise UserError("It went wrong as you asked; set fail to no")
        if params.fail == "surprise":
            raise RuntimeError("nobody foresaw this")
        for letter in params.without:
            text = text.replace(letter, "")
        text = (text.upper() if params.upper else text)[: params.limit] * params.repeat
        path = job.workspace / f"{inputs[0].stem}.inverted.txt"
        path.write_text(text + {"none": "", "dot": ".", "mark": "!"}[params.end], encoding="utf-8")
        return Result(
            outputs=[Output(path, "document", "inverted text", primary=True)],
            measurements={
                "characters": Measurement(len(text)),
                "wait": Measurement(params.seconds, "s"),
            },
            notes=["The text was read from its end"],
        )


class CrashParams(Params):
    """When to die."""

    seconds: float = option(0.2, title="Seconds", description="How long to live", unit="s", ge=0.0)


class CrashEngine:
    """Ends its own process in the middle, as a fault inside a library would."""

    id: ClassVar[str] = CRASH
    title: ClassVar[str] = "Crash"
    tab: ClassVar[str] = "Demo"
    summary: ClassVar[str] = "Ends the worker in the middle of a file"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("document",)
    suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = CrashParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`; needs a worker process, which it kills."""
        assert multiprocessing.parent_process() is not None, "this would end the tests themselves"
        (job.workspace / "half.txt").write_text("half")
        _linger(params.seconds, job)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


def register() -> None:
    """Make both known to the registry of this process."""
    registry.register(INVERT, "tests.engines_for_tests:InvertEngine")
    registry.register(CRASH, "tests.engines_for_tests:CrashEngine")


def _linger(seconds: float, job: Job) -> None:
    """Pass time as work does: report progress, and stop when asked to."""
    steps = round(seconds / _STEP)
    for step in range(steps):
        job.check_cancelled()
        job.progress(step, steps, f"step {step + 1}/{steps}")
        time.sleep(_STEP)
    job.progress(1, 1, "writing")
