"""Opening, migrating and sharing the database; every writer is a process of its own."""

from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Inspector, func, inspect, make_url, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

from db import database
from db.database import DatabaseError, close_database, open_database, writing
from db.schema import ArtifactRow, Base, CameraRow, JobRow, ModelRow, PresetRow, SessionRow
from tests.db.release import OWNER, RELEASES, ROLES, STATES
from tests.postgres import drop_database, new_database

Open = Callable[[Path | str], sessionmaker[Session]]
HEAD = ScriptDirectory(database._MIGRATIONS).get_current_head()
NEWER = '''"""A later release."""
import sqlalchemy as sa
from alembic import op
revision = "9999"
down_revision = "0006"


def upgrade():
    with op.batch_alter_table("jobs", recreate="always") as jobs:
        jobs.add_column(sa.Column("stars", sa.Integer(), nullable=True))
    {then}
'''


@pytest.fixture
def opened() -> Iterator[Open]:
    """`open_database` on a file or URL, closed at the end of the test."""
    factories: list[sessionmaker[Session]] = []

    def opener(place: Path | str) -> sessionmaker[Session]:
        url = place if isinstance(place, str) else f"sqlite:///{place}"
        factories.append(open_database(url))
        return factories[-1]

    yield opener
    for factory in factories:
        close_database(factory)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A copy of the database that release 0.1.0 wrote."""
    return Path(shutil.copy(RELEASES / "0.1.0.sqlite3", tmp_path / "studio.db"))


def _tables(file: Path) -> list[Any]:
    with closing(sqlite3.connect(file)) as plain:
        return plain.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def _revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as plain:
        return plain.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def test_the_revisions_make_exactly_the_tables_of_the_models(
    database_url: str, opened: Open
) -> None:
    factory = opened(database_url)
    with factory() as session:
        context = MigrationContext.configure(
            session.connection(), opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []
        found: Inspector = inspect(session.connection())
        assert {index["name"] for index in found.get_indexes("jobs")} >= {
            "ix_jobs_state_owner_number",
            "ix_jobs_owner_started",
        }


def test_opening_again_changes_nothing(tmp_path: Path, opened: Open) -> None:
    file = tmp_path / "studio.db"
    with writing(opened(file)) as session:
        session.add(SessionRow(id="1" * 32, owner=OWNER, name="mine"))
    before = _tables(file)
    with opened(file)() as session:
        assert session.scalars(select(SessionRow.name)).all() == ["mine"]
    assert _tables(file) == before
    assert not list(tmp_path.glob("*.backup.db"))


def test_every_connection_logs_ahead_and_checks_references(tmp_path: Path, opened: Open) -> None:
    factory = opened(tmp_path / "studio.db")
    with factory() as one, factory() as other:  # two connections of the pool
        for session in (one, other):
            values = [
                session.scalar(text(f"PRAGMA {name}"))
                for name in ("journal_mode", "foreign_keys", "synchronous")
            ]
            assert values == ["wal", 1, 2]
    with pytest.raises(IntegrityError), writing(factory) as session:
        session.add(ArtifactRow(job_number=404, owner=OWNER, role="input", kind="raw", path="/x"))


def test_a_newer_database_is_refused_and_left_as_it_is(release: Path, opened: Open) -> None:
    with closing(sqlite3.connect(release)) as plain:
        plain.execute("UPDATE alembic_version SET version_num = '0099'")
        plain.commit()
    tables = _tables(release)
    with pytest.raises(DatabaseError) as caught:
        opened(release)
    assert str(caught.value) == (
        "This database was written by a newer Noise Studio (revision 0099); "
        "update the studio, or choose another STUDIO_HOME"
    )
    assert _tables(release) == tables
    assert not list(release.parent.glob("*.backup.db"))


def test_what_is_no_database_is_refused_with_a_sentence(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "studio.db").write_text("a text that somebody put here, long enough to be read" * 9)
    with pytest.raises(DatabaseError, match=r"cannot be opened.*: file is not a database$"):
        opened(tmp_path / "studio.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(DatabaseError, match=r"cannot be opened.*: unable to open database file$"):
        opened(tmp_path / "folder.db")


@pytest.mark.parametrize("url", ["no url", "what://ever", "oracle://there/studio"])
def test_an_address_that_cannot_be_used_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(DatabaseError, match=r"^The studio's database cannot be opened; check"):
        open_database(url)


def test_the_first_release_opens_with_all_that_it_held(release: Path, opened: Open) -> None:
    with opened(release)() as session:
        [kept] = session.scalars(select(SessionRow))
        assert (kept.name, kept.created.isoformat()) == (
            "Küste, früh",
            "2026-11-24T08:00:00+00:00",
        )
        jobs = session.scalars(select(JobRow).order_by(JobRow.number)).all()
        assert [job.state for job in jobs] == list(STATES)
        done, failed, *_, running, _ = jobs
        assert [artifact.role for artifact in done.artifacts] == list(ROLES)
        assert [artifact.sha256 for artifact in done.artifacts] == [f"{n:064x}" for n in range(6)]
        assert [(m.name, m.value, m.unit) for m in done.measurements] == [
            ("K", 4.02, "DN/e-"),
            ("sigma", 12.1, "DN"),
        ]
        assert done.params == {"strength": 0.8, "output": ["dng"]}
        assert (done.seconds, done.peak_mb, done.notes) == (
            12.3,
            812.0,
            ["The noise was measured on 412 flat areas"],
        )
        assert failed.error == "This file ends early: 2.1 of 24.6 MB are there"
        assert running.moving == [
            ["/photos/denoised/.noise-studio-4-0", "/photos/denoised/5.dng", "f" * 64]
        ]
        assert failed.moving is None
        assert session.scalars(select(PresetRow.params)).all() == [{"strength": 1.2}]
        assert session.scalars(select(ModelRow.bytes)).all() == [61_000_000]


def test_what_the_first_release_wrote_takes_cameras_that_go_with_their_job(
    release: Path, opened: Open
) -> None:
    factory = opened(release)
    assert _revision(release) == "0006"
    with writing(factory) as session:
        job = session.scalars(select(JobRow).where(JobRow.state == "done")).one()
        session.add(CameraRow(owner=OWNER, job_number=job.number, name="acme-one", model="Acme One",
                              profile={"model": "Acme One", "iso": []}))  # fmt: skip
    with factory() as session:
        kept = session.scalars(select(CameraRow)).one()
        assert (kept.name, kept.profile["model"]) == ("acme-one", "Acme One")
    with writing(factory) as session:
        session.delete(session.scalars(select(JobRow).where(JobRow.state == "done")).one())
    with factory() as session:
        assert session.scalar(select(func.count()).select_from(CameraRow)) == 0


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Add a revision that copies the table of jobs and then does what it is given."""

    def add(then: str) -> None:
        folder = tmp_path / "migrations"
        shutil.copytree(database._MIGRATIONS, folder)
        (folder / "versions" / "9999_later.py").write_text(NEWER.format(then=then, head=HEAD))
        monkeypatch.setattr(database, "_MIGRATIONS", folder)

    return add


def test_a_migration_keeps_every_row_and_a_copy_of_before(
    release: Path, opened: Open, next_release: Callable[[str], None]
) -> None:
    next_release("pass")
    with opened(release)() as session:
        assert session.scalar(select(func.count()).select_from(ArtifactRow)) == 11
        assert session.scalar(text("SELECT count(*) FROM measurements")) == 2
        assert session.scalar(text("SELECT count(stars) FROM jobs")) == 0
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
    assert _revision(release) == "9999"
    copy = release.with_name("studio.0001.backup.db")
    assert _revision(copy) == "0001"
    with closing(sqlite3.connect(copy)) as plain:
        assert plain.execute("SELECT count(*) FROM jobs").fetchone() == (6,)
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        ("op.execute('INSERT INTO nowhere VALUES (1)')", "no such table: nowhere"),
        ("op.execute('DELETE FROM jobs WHERE number = 1')", "a row of .* refers to nothing"),
    ],
)
def test_a_migration_that_fails_changes_nothing(
    release: Path,
    opened: Open,
    next_release: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    then: str,
    reason: str,
) -> None:
    tables = _tables(release)
    with monkeypatch.context() as patch:
        patch.setattr(database, "_MIGRATIONS", database._MIGRATIONS)
        next_release(then)
        with pytest.raises(DatabaseError, match=reason):
            opened(release)
    assert _tables(release) == tables
    monkeypatch.undo()
    with opened(release)() as session:  # the release that wrote it still opens it
        assert session.scalar(select(func.count()).select_from(ArtifactRow)) == 11


def test_a_home_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "100%20 sure? #1 ümlaut"
    factory = open_database(URL.create("sqlite", database=str(folder / "studio.db")))
    close_database(factory)
    assert (folder / "studio.db").is_file()


def test_an_exception_rolls_back(database_url: str, opened: Open) -> None:
    factory = opened(database_url)

    def fail() -> None:
        with writing(factory) as session:
            session.add(SessionRow(owner=OWNER, name="never"))
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with factory() as session:
        assert session.scalar(select(func.count()).select_from(SessionRow)) == 0


def test_what_only_reads_sees_one_state(database_url: str, opened: Open) -> None:
    factory = opened(database_url)
    with factory() as reader:
        assert reader.scalars(select(SessionRow.name)).all() == []
        with writing(factory) as writer:
            writer.add(SessionRow(owner=OWNER, name="later"))
        assert reader.scalars(select(SessionRow.name)).all() == []
    with factory() as reader:
        assert reader.scalars(select(SessionRow.name)).all() == ["later"]


def test_readers_do_not_wait_for_a_writer(database_url: str, opened: Open) -> None:
    factory = opened(database_url)
    with writing(factory) as writer:
        writer.add(SessionRow(owner=OWNER, name="soon"))
        writer.flush()
        with factory() as reader:
            assert reader.scalars(select(SessionRow.name)).all() == []
    with factory() as reader:
        assert reader.scalars(select(SessionRow.name)).all() == ["soon"]


# Several processes

WRITERS, ROUNDS = 4, 60


def _in_processes(work: Callable[..., None], *arguments: Any) -> list[str]:
    """Run `work(barrier, said, *arguments)` in several processes at once; what they said."""
    context = multiprocessing.get_context("spawn")
    barrier, said = context.Barrier(WRITERS), context.Queue()
    processes = [
        context.Process(target=work, args=(barrier, said, *arguments)) for _ in range(WRITERS)
    ]
    for process in processes:
        process.start()
    answers = [said.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    return answers


def _open_and_add(barrier: threading.Barrier, said: Any, urls: list[str]) -> None:
    try:
        for url in urls:
            barrier.wait()
            factory = open_database(url)
            with writing(factory) as session:
                session.add(SessionRow(owner=OWNER, name="one of many"))
            close_database(factory)
        said.put("")
    except Exception as error:
        barrier.abort()
        said.put(repr(error))


@pytest.fixture(params=["sqlite", "postgresql"])
def several(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """URLs of several databases that are not made yet."""
    if request.param == "sqlite":
        yield [f"sqlite:///{tmp_path / str(number) / 'studio.db'}" for number in range(8)]
        return
    base = request.getfixturevalue("postgres")
    urls = [new_database(base) for _ in range(3)]
    yield urls
    for url in urls:
        drop_database(url)


def test_many_processes_open_a_new_database_at_once(several: list[str], opened: Open) -> None:
    assert _in_processes(_open_and_add, several) == [""] * WRITERS
    for url in several:
        with opened(url)() as session:
            assert session.scalar(select(func.count()).select_from(SessionRow)) == WRITERS


def _count_up(barrier: threading.Barrier, said: Any, url: str) -> None:
    try:
        factory = open_database(url)
        barrier.wait()
        for _ in range(ROUNDS):
            with writing(factory) as session:
                row = session.scalars(select(SessionRow)).one()
                row.name = str(int(row.name) + 1)
        close_database(factory)
        said.put("")
    except Exception as error:
        said.put(repr(error))


def test_nothing_is_lost_or_refused_when_processes_read_and_then_write(
    database_url: str, opened: Open
) -> None:
    with writing(opened(database_url)) as session:
        session.add(SessionRow(owner=OWNER, name="0"))
    assert _in_processes(_count_up, database_url) == [""] * WRITERS
    with opened(database_url)() as session:
        assert session.scalars(select(SessionRow.name)).one() == str(WRITERS * ROUNDS)


# PostgreSQL alone


def test_a_postgresql_database_of_an_earlier_release_is_brought_up_to_date(
    postgres_url: str, opened: Open
) -> None:
    database._migrate(make_url(postgres_url), "0002")
    engine = database.connect(postgres_url, pool=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO sessions VALUES (repeat('5', 32), 'local', 'kept', now(), now())"
        )
        connection.exec_driver_sql(
            "INSERT INTO jobs (id, session_id, owner, engine, engine_version, params, state, done,"
            " total, text, device, seed, attempts, source, cancel_requested, created, versions,"
            " models, notes) VALUES (repeat('1', 32), repeat('5', 32), 'local', 'raw.yond', '1',"
            " '{}', 'running', 0, 1, 'tile 1', 'cpu', 7, 1, 'page', false, now(), '{}', '{}',"
            " '[]')"
        )
    with opened(postgres_url)() as session:
        job = session.scalars(select(JobRow)).one()
        assert (job.session.name, job.runner, job.beat) == ("kept", None, 0)


def test_a_newer_postgresql_database_is_refused(postgres_url: str, opened: Open) -> None:
    with writing(opened(postgres_url)) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0099'"))
    with pytest.raises(DatabaseError, match=r"^This database was written by a newer Noise Studio"):
        opened(postgres_url)


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(DatabaseError, match=r"^The studio's database cannot be opened; check"):
        open_database("postgresql+psycopg://studio@127.0.0.1:9/studio")
