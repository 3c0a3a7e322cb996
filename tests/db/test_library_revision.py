"""What the revision before the library wrote is found by its names, kinds and sizes."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url, select, text
from sqlalchemy.pool import NullPool

from db import database
from db.database import close_database, open_database
from db.schema import JobRow

_JOB = (
    "INSERT INTO jobs (id, session_id, owner, engine, engine_version, params, state, done, total,"
    " text, device, seed, attempts, source, cancel_requested, created, versions, models, notes,"
    " out_dir) VALUES (:id, 's', 'local', 'raw.yond', '1', '{}', 'done', 1, 1, '', 'cpu', 7, 1,"
    " 'page', false, '2026-11-24 08:00:00+00:00', '{}', '{}', '[]', :out_dir)"
)
_FILE = (
    "INSERT INTO artifacts (id, job_number, owner, role, kind, label, path, sha256, bytes, facts,"
    " \"primary\", position) VALUES (:id, (SELECT number FROM jobs WHERE id = :job), 'local',"
    " :role, :kind, '', :path, '', :bytes, '{}', :primary, :position)"
)


def _file(job: str, position: int, role: str, kind: str, path: str, size: int) -> dict[str, object]:
    return {"id": f"{job}{position}", "job": job, "role": role, "kind": kind, "path": path,
            "bytes": size, "primary": role == "output", "position": position}  # fmt: skip


@pytest.mark.parametrize("kept", [True, False])
def test_jobs_of_before_have_names_words_kinds_and_sizes(database_url: str, kept: bool) -> None:
    database._migrate(make_url(database_url), "0003")
    engine = database.connect(database_url, pool=NullPool)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO sessions VALUES ('s', 'local', 'a', :at, :at)"),
            {"at": "2026-11-24 08:00:00+00:00"},
        )
        connection.execute(text(_JOB), {"id": "1", "out_dir": None if kept else "/photos"})
        connection.execute(text(_JOB), {"id": "2", "out_dir": None})  # without any file
        odd = "bytes:" + b"/in/caf\xe9.NEF".hex()
        for values in (
            _file("1", 0, "input", "raw", odd, 70),
            _file("1", 1, "input", "raw", "/in/Zweite.nef", 70),
            _file("1", 2, "output", "image", "/photos/Made.TIF", 100),
            _file("1", 3, "thumbnail", "image", "/home/out/thumbnail.jpg", 3),
        ):
            connection.execute(text(_FILE), values)
    factory = open_database(database_url)
    with factory() as session:
        full, bare = session.scalars(select(JobRow).order_by(JobRow.number))
        assert (full.name, full.kind, full.camera) == ("caf?.NEF and 1 more", "image", "")
        assert full.words == "caf?.nef\nzweite.nef\nmade.tif"
        assert full.bytes == (103 if kept else 3)  # what lies in a folder of the person's is theirs
        assert full.deleted is None
        assert (bare.name, bare.words, bare.kind, bare.bytes) == ("", "", "", 0)
    close_database(factory)
