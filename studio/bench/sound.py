"""Whether what a studio's database says is true: of files, of states, and of nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from engines.weights import sha256_of
from studio.config import KEPT
from studio.workspace import MARK

_FINISHED = ("done", "failed", "cancelled")


def problems(home: Path, *folders: Path, ended: bool = True) -> list[str]:
    """What is wrong with a home whose studio is closed; empty if nothing is.

    Args:
        home: the studio's folder, with its database in SQLite.
        folders: others in which nothing temporary may be left.
        ended: whether every job has to have ended.
    """
    found: list[str] = []
    with closing(sqlite3.connect(home / "studio.db")) as plain:
        for check in ("integrity_check", "foreign_key_check"):
            said = plain.execute(f"PRAGMA {check}").fetchall()
            if said not in ([("ok",)], []):
                found.append(f"{check}: {said[0]}")
        # The studio makes its own examples when it can; they may be under way when it is closed.
        jobs = plain.execute(
            "SELECT number, id, session_id, state, moving FROM jobs "
            "WHERE owner != ? OR state NOT IN ('queued', 'running', 'interrupted')",
            (KEPT,),
        ).fetchall()
        files = plain.execute(
            "SELECT job_number, role, path, sha256, bytes, facts FROM artifacts WHERE role!='input'"
        ).fetchall()
    states = {number: state for number, _, _, state, _ in jobs}
    outputs = {number for number, role, *_ in files if role == "output"}
    for number, job_id, session, state, moving in jobs:
        where = f"job {job_id}"
        if ended and state not in _FINISHED:
            found.append(f"{where} is {state}")
        if ended and moving not in (None, "null"):
            found.append(f"{where} has a journal that nobody settled")
        if state == "done" and number not in outputs:
            found.append(f"{where} is done and has no output")
        if state != "done" and (home / "outputs" / session / job_id).exists() and ended:
            found.append(f"{where} is {state} and left its folder")
    for number, _, path, sha256, size, facts in files:
        file = Path(path)
        if states.get(number) != "done":
            found.append(f"{file.name} belongs to a job that is {states.get(number)}")
        elif '"folder": true' in facts:
            found += [] if file.is_dir() else [f"{file.name} is not there"]
        elif not file.is_file():
            found.append(f"{file.name} is not there")
        elif file.stat().st_size != size or sha256_of(file) != sha256:
            found.append(f"{file.name} is not what was recorded")
    known = {(session, job_id) for _, job_id, session, state, _ in jobs if state == "done"}
    for folder in (home / "outputs").glob("*/*"):
        if ended and (folder.parent.name, folder.name) not in known:
            found.append(f"{folder.name} belongs to no job that is done")
    for place in (home / "outputs", *folders):
        found += [f"{left.name} was left behind" for left in place.rglob(f"{MARK}*") if ended]
    return found
