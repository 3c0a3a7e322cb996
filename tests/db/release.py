"""Writes tests/data/db/<version>.sqlite3: a database as that release leaves it, one of everything.

Run once at each release, `python -m tests.db.release`; the file is committed and never made again,
so that later releases prove on it that they still open what people have.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from db.database import close_database, open_database, writing
from db.schema import (
    ArtifactRow,
    JobRow,
    MeasurementRow,
    ModelRow,
    PresetRow,
    SessionRow,
)
from studio.config import VERSION

RELEASES = Path(__file__).parents[1] / "data" / "db"
STATES = ("done", "failed", "cancelled", "queued", "running", "interrupted")
ROLES = ("input", "output", "figure", "before", "after", "thumbnail")
OWNER = "local"
BEGUN = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def rows() -> list[SessionRow | PresetRow | ModelRow]:
    """One of everything; ids are what they are so that tests can name them."""
    session = SessionRow(id="5" * 32, owner=OWNER, name="Küste, früh", created=BEGUN, updated=BEGUN)
    for number, state in enumerate(STATES):
        job = JobRow(
            id=f"{number:032x}", owner=OWNER, batch="b" * 32, engine="raw.yond",
            engine_version="1", params={"strength": 0.8, "output": ["dng"]}, state=state,
            device="cpu", seed=7, attempts=1, source="cli", out_dir="/photos/denoised",
            created=BEGUN + timedelta(minutes=number),
        )  # fmt: skip
        job.artifacts = [_artifact(number, "input", 0)]
        session.jobs.append(job)
    done, failed, _, _, running, _ = session.jobs
    done.artifacts += [_artifact(0, role, n) for n, role in enumerate(ROLES) if n]
    done.measurements = [
        MeasurementRow(name="K", value=4.02, unit="DN/e-", position=0),
        MeasurementRow(name="sigma", value=12.1, unit="DN", position=1),
    ]
    done.started, done.finished = BEGUN, BEGUN + timedelta(seconds=12)
    done.done = done.total = 90.0
    done.seconds, done.peak_mb = 12.3, 812.0
    done.notes = ["The noise was measured on 412 flat areas"]
    done.models, done.versions = {"yond-snrnet-small": "e" * 64}, {"noise-studio": VERSION}
    failed.error = "This file ends early: 2.1 of 24.6 MB are there"
    running.done, running.total, running.text = 14.0, 90.0, "tile 14/90"
    running.moving = [["/photos/denoised/.noise-studio-4-0", "/photos/denoised/5.dng", "f" * 64]]
    return [
        session,
        PresetRow(id="6" * 32, owner=OWNER, engine="raw.yond", name="Night", created=BEGUN,
                  params={"strength": 1.2}),
        ModelRow(id="yond", layout="raw.yond/snrnet", state="official", source="its authors",
                 licence="as its authors say", sha256="a" * 64, bytes=61_000_000, added=BEGUN,
                 path="/studio/models/yond.safetensors"),
    ]  # fmt: skip


def _artifact(job: int, role: str, position: int) -> ArtifactRow:
    return ArtifactRow(
        id=f"{job:016x}{position:016x}", owner=OWNER, role=role, label=role,
        kind="raw" if role in ("input", "output") else "image",
        path=f"/photos/{role}-{job}.dng", sha256=f"{position:064x}", bytes=1000 + position,
        facts={"alt": "a line"} if role == "figure" else {}, primary=role == "output",
        position=position,
    )  # fmt: skip


def write(file: Path) -> None:
    """Make the database with the tables of today."""
    factory = open_database(f"sqlite:///{file}")
    with writing(factory) as session:
        session.add_all(rows())
    close_database(factory)
    with closing(sqlite3.connect(file)) as plain:
        plain.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        plain.execute("VACUUM")
    file.with_name(f"{file.name}.lock").unlink(missing_ok=True)


if __name__ == "__main__":
    RELEASES.mkdir(parents=True, exist_ok=True)
    target = RELEASES / f"{VERSION}.sqlite3"
    if target.exists():
        raise SystemExit(f"{target.name} is there already and stays as it was released")
    write(target)
