"""An engine for benches of the queue: takes as long as it is told, and answers who asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines import registry
from engines.base import Job, MediaKind, Output, Params, Result, option

ENGINE = "bench.echo"
_STEP = 0.05  # seconds between two looks whether it is to stop


class EchoParams(Params):
    """How long to take, and how much to write."""

    seconds: float = option(
        0.0, title="Seconds", description="How long to take", unit="s", ge=0.0, le=60.0
    )
    kilobytes: int = option(0, title="Size", description="Added", unit="kB", ge=0, le=1 << 20)


class EchoEngine:
    """Writes what it read as `<stem>.echo.txt`; the protocol is `engines.base.Engine`."""

    id: ClassVar[str] = ENGINE
    title: ClassVar[str] = "Echo"
    tab: ClassVar[str] = "Bench"
    summary: ClassVar[str] = "Writes what it read, to measure the queue"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("document",)
    suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = EchoParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """Take the time and write the file; see `engines.base.Engine.run`."""
        text = inputs[0].read_bytes()
        steps = round(params.seconds / _STEP)
        for step in range(steps):
            job.check_cancelled()
            job.progress(step, steps, f"step {step + 1}/{steps}")
            time.sleep(_STEP)
        path = job.workspace / f"{inputs[0].stem}.echo.txt"
        with path.open("wb") as file:
            file.write(text)
            for _ in range(params.kilobytes):
                file.write(b"\n" + b"." * 1023)
        return Result([Output(path, "document", "echo", primary=True)])


def register() -> None:
    """Make it known to the registry of this process."""
    registry.register(ENGINE, f"{__name__}:EchoEngine")
