"""`bench startup`: from the command to the first page, the environment being there already.

`studio.cli` is started as a process of its own, five times, on a home that has been used before;
the time runs until the page has answered once.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from studio.bench.served import served

TITLE = "From the command to the first page"
RUNS = 5
_PORT = 7930


def run() -> list[dict[str, Any]]:
    """One row: median and worst seconds to the first page."""
    with TemporaryDirectory() as home:
        _start(Path(home))
        spent = [_start(Path(home)) for _ in range(RUNS)]
    return [{"runs": RUNS, "median_s": round(median(spent), 2), "worst_s": round(max(spent), 2)}]


def _start(home: Path) -> float:
    begun = time.perf_counter()
    with served(home, _PORT):
        return time.perf_counter() - begun
