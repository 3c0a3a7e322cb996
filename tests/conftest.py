"""What every test can rely on: nobody's folders are touched and nothing leaves the machine.

Fixtures for other tests: `home`, `settings`, `studio` (inline executor), `worker_studio` (a real
spawned worker) and `tiny_engine` (see `tests.engines_for_tests`).
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import engines_for_tests

pytest_plugins = ["tests.postgres", "tests.types_aside"]

# Libraries read these when they are imported, which is before any fixture runs.
_PEOPLE = Path(tempfile.mkdtemp(prefix="noise-studio-tests-"))
_FOLDERS = {
    "HOME": "home",
    "USERPROFILE": "home",
    "XDG_CACHE_HOME": "home/.cache",
    "XDG_CONFIG_HOME": "home/.config",
    "XDG_DATA_HOME": "home/.local/share",
    "XDG_RUNTIME_DIR": "run",
    "HF_HOME": "huggingface",
    "GRADIO_TEMP_DIR": "gradio",
    "STUDIO_HOME": "studio",
}
for _name, _folder in _FOLDERS.items():
    (_PEOPLE / _folder).mkdir(parents=True, exist_ok=True)
    os.environ[_name] = str(_PEOPLE / _folder)
os.environ |= {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "NO_COLOR": "1",
}
os.environ.setdefault("OMP_NUM_THREADS", "2")  # the same sums on every machine
for _name in ("SYSTEM", "SPACE_ID", "STUDIO_DATABASE_URL", "STUDIO_DEVICE", "NOISE_STUDIO_NO_VENV"):
    os.environ.pop(_name, None)

_LOCAL = {"127.0.0.1", "::1", "localhost", ""}


def pytest_unconfigure() -> None:
    """Remove the redirected folders."""
    shutil.rmtree(_PEOPLE, ignore_errors=True)


def _refuse(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name is not None and name not in _LOCAL:
        raise OSError(f"tests reach 127.0.0.1 alone, not {name}")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Refuse every address but this machine's, to connect, to listen and to look up."""

    def guard(method: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(self: socket.socket, address: Any, *rest: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                _refuse(address[0])
            return method(self, address, *rest)

        return guarded

    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *rest: Any, **more: Any) -> Any:
        _refuse(host)
        return look_up(host, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "bind"):
            patch.setattr(socket.socket, name, guard(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Seed every generator that is loaded."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh STUDIO_HOME for this test alone; it is made by the studio, not by this."""
    folder = tmp_path / "studio-home"
    monkeypatch.setenv("STUDIO_HOME", str(folder))
    return folder


@pytest.fixture
def settings(home: Path) -> Any:
    """`studio.config.Settings` of a studio in `home` that runs its jobs in this process."""
    from studio.config import Settings

    return Settings(home=home, executor="inline", device="cpu", open_browser=False)


@pytest.fixture
def studio(settings: Any) -> Iterator[Any]:
    """A started `studio.jobs.service.Studio` whose runner thread does the jobs itself."""
    yield from _running(settings)


@pytest.fixture
def worker_studio(settings: Any) -> Iterator[Any]:
    """A started `studio.jobs.service.Studio` with a spawned worker process, as people run it."""
    yield from _running(replace(settings, executor="worker"))


def _running(settings: Any) -> Iterator[Any]:
    from studio.jobs.service import Studio

    studio = Studio(settings)
    studio.start()
    try:
        yield studio
    finally:
        studio.stop()


@pytest.fixture
def tiny_engine(monkeypatch: pytest.MonkeyPatch) -> str:
    """Register demo.invert and demo.crash for this test; returns the first one's id."""
    monkeypatch.setattr("engines.registry._added", {})
    engines_for_tests.register()
    return engines_for_tests.INVERT
