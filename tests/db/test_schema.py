"""What the column types keep, and what the tables do when a row goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from db.database import close_database, open_database, writing
from db.schema import ArtifactRow, JobRow, MeasurementRow, SessionRow, new_id
from tests.db.release import rows


@pytest.fixture
def factory(database_url: str) -> Iterator[sessionmaker[Session]]:
    factory = open_database(database_url)
    yield factory
    close_database(factory)


def test_a_time_keeps_its_moment(factory: sessionmaker[Session]) -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    moment = datetime(2026, 11, 24, 1, 2, 3, 456789, tzinfo=there)
    with writing(factory) as session:
        session.add(SessionRow(owner="local", name="a", created=moment))
    with factory() as session:
        found = session.scalars(select(SessionRow.created)).one()
    assert found == moment
    assert found.tzinfo is UTC


@pytest.mark.parametrize("name", [b"plain.nef", "süß.nef".encode(), b"caf\xe9.nef", b"bytes:00"])
def test_a_path_of_any_bytes_comes_back(factory: sessionmaker[Session], name: bytes) -> None:
    path = "/photos/" + os.fsdecode(name)
    with writing(factory) as session:
        job = JobRow(owner="local", engine="raw.yond", params={}, out_dir=path)
        job.artifacts = [ArtifactRow(owner="local", role="input", kind="raw", path=path)]
        session.add(SessionRow(owner="local", name="a", jobs=[job]))
    with factory() as session:
        artifact = session.scalars(select(ArtifactRow).where(ArtifactRow.path == path)).one()
        assert os.fsencode(artifact.path) == b"/photos/" + name
        assert artifact.job.out_dir == path


@pytest.mark.parametrize("given", ["nul\x00", "caf\udce9", "x" * 999, "'; DROP TABLE jobs; --"])
def test_an_id_that_is_none_finds_nothing(factory: sessionmaker[Session], given: str) -> None:
    with factory() as session:
        assert session.get(SessionRow, given) is None
        assert session.scalar(select(JobRow).where(JobRow.id == given)) is None
        assert session.scalar(select(func.count()).select_from(JobRow)) == 0


def test_settings_may_hold_any_text(factory: sessionmaker[Session]) -> None:
    params = {"query": ["nul\x00", "caf\udce9", "<b>'\"\\"], "much": 1e300}
    with writing(factory) as session:
        session.add(SessionRow(owner="local", name="a", jobs=[
            JobRow(owner="local", engine="raw.yond", params=params)
        ]))  # fmt: skip
    with factory() as session:
        assert session.scalars(select(JobRow.params)).one() == params


def test_sentences_are_made_to_fit(factory: sessionmaker[Session]) -> None:
    with writing(factory) as session:
        job = JobRow(owner="local", engine="raw.yond", params={}, text="x" * 999,
                     error="caf\udce9 is \x00 gone")  # fmt: skip
        session.add(SessionRow(owner="local", name="n" * 999, jobs=[job]))
    with factory() as session:
        found = session.scalars(select(JobRow)).one()
        assert found.error == "caf\ufffd is \ufffd gone"
        assert (len(found.text), len(found.session.name)) == (300, 200)


def test_what_belongs_to_a_row_goes_with_it(factory: sessionmaker[Session]) -> None:
    with writing(factory) as session:
        session.add_all(rows())
    with writing(factory) as session:
        session.delete(session.scalars(select(JobRow).where(JobRow.state == "done")).one())
    with factory() as session:
        assert session.scalar(select(func.count()).select_from(ArtifactRow)) == 5
        assert session.scalar(select(func.count()).select_from(MeasurementRow)) == 0
    with writing(factory) as session:
        session.delete(session.scalars(select(SessionRow)).one())
    with factory() as session:
        for table in ("jobs", "artifacts", "measurements"):
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 0


def test_ids_are_not_to_be_guessed() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in ids)
