"""`bench overhead`: what a job costs beyond its work.

An engine that does nothing is submitted to a real worker process fifty times, one after another;
the time runs from the submission to the moment at which the waiting caller sees it done.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from engines import registry
from engines.base import Job, MediaKind, Output, Params, Result
from studio.config import LOCAL, Settings
from studio.jobs.service import Studio

TITLE = "Overhead of a job that does nothing"
JOBS = 50
ENGINE = "bench.nothing"


class NothingEngine:
    """Writes an empty file; the protocol is `engines.base.Engine`."""

    id: ClassVar[str] = ENGINE
    title: ClassVar[str] = "Nothing"
    tab: ClassVar[str] = "Bench"
    summary: ClassVar[str] = "Does nothing, to measure what a job costs by itself"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("document",)
    suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = Params

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """Write the file; see `engines.base.Engine.run`."""
        path = job.workspace / "nothing.txt"
        path.write_text("")
        return Result([Output(path, "document", "nothing", primary=True)])


def run() -> list[dict[str, Any]]:
    """One row: median and worst milliseconds of a job."""
    registry.register(ENGINE, "studio.bench.overhead:NothingEngine")
    spent: list[float] = []
    with TemporaryDirectory() as folder:
        home = Path(folder)
        source = home / "input.txt"
        source.write_text("")
        studio = Studio(Settings(home=home))
        studio.start()
        try:
            session = studio.new_session(LOCAL)
            for number in range(JOBS + 1):
                begun = time.perf_counter()
                ids = studio.submit(LOCAL, session.id, ENGINE, [[source]], {}, source="cli")
                [job] = studio.wait(LOCAL, ids, poll=0.005)
                if job.state != "done":
                    raise RuntimeError(job.error)
                if number > 0:  # the first waits for the worker's start
                    spent.append(time.perf_counter() - begun)
        finally:
            studio.stop()
    return [
        {
            "jobs": len(spent),
            "median_ms": round(1000 * median(spent), 1),
            "worst_ms": round(1000 * max(spent), 1),
        }
    ]
