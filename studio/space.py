"""What is particular about a Hugging Face Space: where it can keep things."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

DATA = Path("/data")  # the persistent disk, where one was added


def home_of_space(data: Path = DATA) -> tuple[str | None, bool]:
    """A Space's home, and whether it outlives a restart; None is the usual folder.

    A bucket that is mounted as a folder may know no locks, and a database on it would be damaged;
    so it is tried first.
    """
    if os.access(data, os.W_OK) and _keeps_a_database(data):
        return str(data), True
    return None, False


def _keeps_a_database(folder: Path) -> bool:
    try:
        with tempfile.TemporaryDirectory(prefix=".noise-studio-", dir=folder) as place:
            path = Path(place, "try.db")
            with (
                closing(sqlite3.connect(path, timeout=0)) as one,
                closing(sqlite3.connect(path, timeout=0)) as other,
            ):
                [mode] = one.execute("pragma journal_mode=wal").fetchone()
                one.execute("create table t (x)")
                one.commit()
                one.execute("begin immediate")
                with suppress(sqlite3.OperationalError):
                    other.execute("begin immediate")
                    return False  # two writers at once: there are no locks
                one.rollback()
                return mode == "wal"
    except (OSError, sqlite3.Error):
        return False
