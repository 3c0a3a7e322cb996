"""`bench startup`: from the command to the first page, the environment being there already.

`studio.cli` is started as a process of its own, five times, on a home that has been used before;
the time runs until the page has answered once, and until its worker can take a job.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

TITLE = "From the command to the first page"
RUNS = 5
_ROOT = Path(__file__).resolve().parents[2]
_PORT = 7930
_PATIENCE = 120.0


def run() -> list[dict[str, Any]]:
    """One row: median and worst seconds to the first page."""
    with TemporaryDirectory() as home:
        _start(home)
        spent = [_start(home) for _ in range(RUNS)]
    return [{"runs": RUNS, "median_s": round(median(spent), 2), "worst_s": round(max(spent), 2)}]


def _start(home: str) -> float:
    begun = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - fixed arguments
        [sys.executable, "-m", "studio.cli", "--no-browser", "--port", str(_PORT)],
        cwd=_ROOT,
        env=os.environ | {"STUDIO_HOME": home},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{_PORT}/") as answer:
                    answer.read()
                return time.perf_counter() - begun
            except (URLError, ConnectionError):
                if process.poll() is not None or time.perf_counter() - begun > _PATIENCE:
                    raise RuntimeError("the studio did not start") from None
                time.sleep(0.02)
    finally:
        process.terminate()
        process.wait(timeout=30)
