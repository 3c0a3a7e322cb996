"""A PostgreSQL server for the tests: Debian's, in a temporary folder, on 127.0.0.1 alone.

It runs as somebody who is not root (PostgreSQL refuses root) and ends with the tests, also where
they are killed. Where it is not installed, what needs it is skipped.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

_DEBIAN = Path("/usr/lib/postgresql")
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, <linux/prctl.h>
_PATIENCE = 60.0  # seconds for a server to answer
_NAMES = count(1)


def installed() -> Path | None:
    """Folder of the newest server's programs; None where there is none."""
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return Path(program).resolve().parent if program else None


@contextmanager
def server(programs: Path) -> Iterator[str]:
    """Start a server; gives the URL of it without a database, and ends it in any case."""
    folder = Path(tempfile.mkdtemp(prefix="noise-studio-postgres-"))
    who = _nobody_special(folder)
    process: subprocess.Popen[Any] | None = None
    try:
        data, log = folder / "data", folder / "log"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "studio", "-A", "trust", "-E", "UTF8",
             "--locale=C.UTF-8", "--no-sync"],
            check=True, capture_output=True, timeout=_PATIENCE, cwd=folder, **who,
        )  # fmt: skip
        port = _free_port()
        with log.open("wb") as said:
            process = started = subprocess.Popen(
                [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port),
                 "-k", folder, "-c", "fsync=off", "-c", "max_connections=80"],
                stdout=said, stderr=said, cwd=folder, preexec_fn=_die_with_parent, **who,
            )  # fmt: skip
        url = f"postgresql+psycopg://studio@127.0.0.1:{port}"
        _until_it_answers(url, started, log)
        yield url
    finally:
        if process is not None:
            process.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def new_database(base: str) -> str:
    """Make an empty database on a server; its URL."""
    name = f"studio_{os.getpid()}_{next(_NAMES)}"
    with _connection(base) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{base}/{name}"


def drop_database(url: str) -> None:
    """Remove a database with whatever is connected to it."""
    base, _, name = url.rpartition("/")
    with _connection(base) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _connection(base: str) -> Any:
    import psycopg

    plain = base.replace("+psycopg", "")
    return psycopg.connect(f"{plain}/postgres", autocommit=True, connect_timeout=10)


def _nobody_special(folder: Path) -> dict[str, Any]:
    """Arguments of `Popen` for a user other than root, who then owns the folder."""
    if os.geteuid() != 0:
        return {}
    with suppress(KeyError):
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    os.chown(folder, 65534, 65534)
    return {"user": 65534, "group": 65534, "extra_groups": []}


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGQUIT)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _until_it_answers(base: str, process: subprocess.Popen[Any], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            _connection(base).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a server without a database; skips where PostgreSQL is not installed."""
    programs = installed()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with server(programs) as base:
        yield base


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database of each kind that the studio works with."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'studio.db'}"
        return
    url = new_database(request.getfixturevalue("postgres"))
    yield url
    drop_database(url)


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database."""
    url = new_database(postgres)
    yield url
    drop_database(url)
