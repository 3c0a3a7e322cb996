"""A studio served in a process of its own, as people start it, with the engines for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Served:
    """Starts, ends and kills the studio of one home; it is at the same address each time."""

    def __init__(self, home: Path, *, shared: bool = False) -> None:
        from studio.app import free_port  # brings Gradio; worker and reader import this module too

        self.home = home
        self.port = free_port("127.0.0.1", 20000 + os.getpid() % 20000)
        self.address = f"http://127.0.0.1:{self.port}/"
        self._shared = shared
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Serve; returns once the page can be asked for."""
        mode = "shared" if self._shared else "local"
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self.home), str(self.port), mode],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith(f"Noise Studio is open at {self.address};"), line

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C or a service manager does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Take page and worker away at once, as a power cut does."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        assert self._process.stdout is not None
        if number == signal.SIGKILL:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)
        self._process.wait(30)
        self._process.stdout.close()
        self._process = None


def main(home: str, port: str, mode: str) -> None:
    """Serve until a signal comes."""
    from studio.app import serve
    from studio.config import Settings
    from studio.jobs.service import Studio
    from tests import engines_for_tests

    engines_for_tests.register()
    engines_for_tests.register_sound()
    settings = Settings(
        home=Path(home), port=int(port), device="cpu", open_browser=False, space=mode == "shared"
    )
    studio = Studio(settings)
    studio.start()
    try:
        serve(studio, settings)
    finally:
        studio.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
