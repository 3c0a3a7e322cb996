"""A real studio in a process of its own that can be killed, with `bench.echo` beside the engines.

`python -m studio.bench.process ...` is the command line with that engine; it dies with its parent.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 300.0  # seconds for a page to answer on a machine that does much else


class StudioProcess:
    """One home's studio, started and ended as often as wanted.

    Args:
        home: its folder.
        shared: strangers with keys of their own, told apart as on a Space but without its limits.
        arguments: more options of the command line.
    """

    def __init__(
        self, home: Path, *, shared: bool = False, arguments: tuple[str, ...] = ()
    ) -> None:
        self.home = home
        self.port = _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._arguments = arguments
        self._env = os.environ | {"STUDIO_HOME": str(home), "NO_COLOR": "1"}
        if shared:
            self._env |= {"SYSTEM": "spaces"}
            for name in ("FILES", "JOBS_HOUR", "WAITING_ALL", "STORED_MB"):
                self._env[f"STUDIO_MAX_{name}"] = "0"
            self._env |= {"STUDIO_MIN_FREE_MB": "0", "STUDIO_MAX_WAITING_JOBS": "1000"}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it said on standard error, of all its starts."""
        return self.home.with_name(f"{self.home.name}.log")

    @property
    def process(self) -> psutil.Process:
        """The page's process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def start(self) -> None:
        """Start it; returns once its page answers.

        Raises:
            RuntimeError: it did not start.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                [sys.executable, "-m", __name__, "--no-browser", "--host", "127.0.0.1",
                 "--port", str(self.port), *self._arguments],
                cwd=ROOT, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        begun = time.monotonic()
        while self._process.poll() is None and time.monotonic() - begun < _PATIENCE:
            try:
                with urlopen(f"{self.address}/studio/alive", timeout=5) as answer:  # noqa: S310
                    answer.read()
                return
            except (URLError, ConnectionError, TimeoutError):
                time.sleep(0.05)
        said = self.log.read_text(errors="replace")[-1000:]
        self.kill()
        raise RuntimeError(f"The studio did not start: {said}")

    def workers(self) -> list[psutil.Process]:
        """Processes that do its jobs."""
        try:
            below = self.process.children(recursive=True)
            return [one for one in below if "spawn_main" in " ".join(one.cmdline())]
        except psutil.Error:
            return []

    def kill(self) -> None:
        """SIGKILL; returns when it and its workers are gone."""
        if self._process is None:
            return
        try:
            below = self.process.children(recursive=True)
        except psutil.Error:
            below = []
        self._process.kill()
        self._process.wait()
        _, left = psutil.wait_procs(below, timeout=10)
        for one in left:  # they die with it; what does not must not outlive a bench
            one.kill()

    def stop(self) -> None:
        """End it in good order, or by force where that takes too long."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> int:
    """The command line, with `bench.echo` in the registry."""
    import ctypes
    import signal

    from studio.bench import echo
    from studio.cli import main as command_line

    if sys.platform == "linux":  # PR_SET_PDEATHSIG, <linux/prctl.h>
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    echo.register()
    return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
