"""A studio in a process of its own, as people start it, for what is measured or looked at there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

_ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 120.0


@contextmanager
def served(home: Path, port: int) -> Iterator[str]:
    """The address of a studio on `home`, whose page has answered once; it ends with the block.

    Raises:
        RuntimeError: it did not start.
    """
    address = f"http://127.0.0.1:{port}/"
    begun = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - fixed arguments
        [sys.executable, "-m", "studio.cli", "--no-browser", "--port", str(port)],
        cwd=_ROOT,
        env=os.environ | {"STUDIO_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                with urlopen(address) as answer:
                    answer.read()
                break
            except (URLError, ConnectionError):
                if process.poll() is not None or time.perf_counter() - begun > _PATIENCE:
                    raise RuntimeError("the studio did not start") from None
                time.sleep(0.02)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)
