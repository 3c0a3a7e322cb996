"""A studio without a page in a process of its own, for `bench faults`; it dies with its parent.

`python -m studio.bench.headless HOME [--clock] [--most BYTES]`: with `--clock` its clock jumps by
up to a day at every look; with `--most` it can write no larger file.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
_DAY = 24 * 3600.0


class Headless:
    """One home's studio, started and ended as often as wanted."""

    def __init__(self, home: Path, *options: str) -> None:
        self._home = home
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it said on standard error, of all its starts."""
        return self._home.with_name(f"{self._home.name}.log")

    def start(self) -> None:
        """Start it; returns at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", __name__, str(self._home), *self._options],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def workers(self) -> list[psutil.Process]:
        """Processes that do its jobs."""
        if self._process is None:
            return []
        try:
            below = psutil.Process(self._process.pid).children(recursive=True)
            return [one for one in below if "spawn_main" in " ".join(one.cmdline())]
        except psutil.Error:
            return []

    def kill(self) -> None:
        """SIGKILL; returns when it and its workers are gone."""
        if self._process is not None:
            below = self.workers()
            self._process.kill()
            self._process.wait()
            for one in psutil.wait_procs(below, timeout=10)[1]:
                one.kill()  # they die with it; what does not must not outlive a bench

    def stop(self) -> None:
        """End it in good order, or by force where that takes too long."""
        if self.alive():
            assert self._process is not None
            self._process.terminate()
            try:
                self._process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill()


def _jumping_clock() -> None:
    """Whoever asks what time it is gets one within a day of it, a different one each time."""
    import db.schema

    real, true_datetime = time.time, db.schema.datetime
    draw = random.Random(0)  # noqa: S311 - not for secrets

    class Jumping(true_datetime):
        """A clock that somebody sets all the time."""

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            """Some time."""
            return true_datetime.fromtimestamp(time.time(), tz)

    time.time = lambda: real() + draw.uniform(-_DAY, _DAY)
    db.schema.datetime = Jumping  # type: ignore[misc]


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--clock", action="store_true")
    parser.add_argument("--most", type=int)
    args = parser.parse_args()
    if sys.platform == "linux":  # PR_SET_PDEATHSIG, <linux/prctl.h>
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if args.most is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (args.most, args.most))
    from studio.bench import echo
    from studio.config import Settings
    from studio.jobs.service import Studio

    if args.clock:
        _jumping_clock()
    echo.register()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    studio = Studio(Settings(home=args.home, device="cpu", open_browser=False))
    studio.start()
    while not ended.wait(0.2):
        pass
    studio.stop()


if __name__ == "__main__":
    main()
