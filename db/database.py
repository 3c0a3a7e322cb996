"""Opening the database: pragmas, migrations, a backup before each, refusal of a newer one.

SQLite as Python drives it begins a transaction at the first change only. Here every transaction
begins when it says so: what only reads sees one state of the data, what writes (`writing`) holds
the write lock from its start, so it waits for its turn instead of failing half-way with "database
is locked", and what it has read stays true until it commits. Tables change in transactions too.

PostgreSQL means the same here: a reading transaction is one snapshot, and a writing one takes an
advisory lock first, so that writers take turns there as well. It reads what is committed by then
(a snapshot would be from before the lock was got).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, Pool

_MIGRATIONS = Path(__file__).resolve().parent / "migrations"
_PATIENCE = 30.0  # seconds that a transaction waits for its turn to write
_BEGIN = "studio_begin"  # execution option: the kind of transaction, in SQLite's words
_WRITING: dict[str, Any] = {_BEGIN: "IMMEDIATE"}
_TURN = 0x6E6F697365  # PostgreSQL's number of the lock that writers take turns by: "noise"
# A machine that vanishes in the middle of writing must not hold up the others for hours.
_SERVER = (
    f"-c lock_timeout={int(_PATIENCE)}s -c idle_in_transaction_session_timeout=60s "
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)


class DatabaseError(Exception):
    """The database cannot be used; one sentence."""


def open_database(url: str | URL) -> sessionmaker[Session]:
    """Connect, migrate to the newest revision, return the session factory.

    Raises:
        DatabaseError: it was written by a newer release, or cannot be opened.
    """
    try:
        parsed = make_url(url)
        with _alone(parsed):
            _migrate(parsed)
        return sessionmaker(connect(parsed), expire_on_commit=False)
    except (SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:  # or no driver for it
        raise DatabaseError(
            "The studio's database cannot be opened; check its place and its disk: "
            f"{_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def close_database(factory: sessionmaker[Session]) -> None:
    """Close the connections that nobody uses; a session that is opened later makes new ones."""
    _bind(factory).dispose()


def shared(factory: sessionmaker[Session]) -> bool:
    """Whether studios on other machines may work with this database."""
    return _bind(factory).dialect.name != "sqlite"


def _bind(factory: sessionmaker[Session]) -> Engine:
    bind = factory.kw["bind"]
    assert isinstance(bind, Engine)
    return bind


def _options(engine: Engine) -> dict[str, Any]:
    """Execution options of a connection that is going to write."""
    if engine.dialect.name == "sqlite":
        return _WRITING
    return {"isolation_level": "READ COMMITTED"}


def _take_turn(connection: Connection) -> None:
    """Wait until nobody else writes; SQLite has done so when the transaction began."""
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN})")


@contextmanager
def writing(factory: sessionmaker[Session]) -> Generator[Session]:
    """A session whose transaction may write; commits at the end, rolls back on an exception.

    Raises:
        DatabaseError: it cannot be written, most likely because the disk is full.
    """
    try:
        with factory.begin() as session:
            _take_turn(session.connection(execution_options=_options(_bind(factory))))
            yield session
    except OperationalError as error:
        raise DatabaseError(
            f"The studio's database cannot be written ({_reason(error)}); "
            "free some disk space, or try again"
        ) from error


def connect(url: str | URL, *, foreign_keys: bool = True, pool: type[Pool] | None = None) -> Engine:
    """An engine whose SQLite connections use WAL, enforce foreign keys and wait for a lock."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(
            parsed, poolclass=pool, pool_pre_ping=True, isolation_level="REPEATABLE READ",
            connect_args={"connect_timeout": 10, "options": _SERVER} if _is_psycopg(parsed) else {},
        )  # fmt: skip
    engine = create_engine(parsed, poolclass=pool, connect_args={"timeout": _PATIENCE})

    def prepare(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        cursor.execute("PRAGMA synchronous = FULL")  # a recorded result survives a power cut
        cursor.close()

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _is_psycopg(url: URL) -> bool:
    return url.get_dialect().driver == "psycopg"


def _begin(connection: Connection) -> None:
    kind = connection.get_execution_options().get(_BEGIN, "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")


@contextmanager
def _alone(url: URL) -> Generator[None]:
    """Two processes that make the same new SQLite file would meet while it is turned to WAL."""
    if url.get_backend_name() != "sqlite" or not url.database:
        yield
        return
    file = Path(url.database)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f"{file.name}.lock")):
        yield


def _migrate(url: URL, revision: str = "head") -> None:
    """Bring the tables to a revision, the newest, keeping a copy of an SQLite file before a change.

    All or nothing. Foreign keys are off meanwhile and checked at the end: SQLite alters a table by
    copying it and dropping the old one, which would take along every row that refers to it.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    engine = connect(url, foreign_keys=False, pool=NullPool)
    with engine.connect().execution_options(**_options(engine)) as connection:
        _take_turn(connection)
        current = MigrationContext.configure(connection).get_current_revision()
        if current == script.get_current_head():
            return
        if current is not None:
            if current not in {revision.revision for revision in script.walk_revisions()}:
                raise DatabaseError(
                    f"This database was written by a newer Noise Studio (revision {current}); "
                    "update the studio, or choose another STUDIO_HOME"
                )
            _back_up(url, current)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        if connection.dialect.name == "sqlite":
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
            if broken is not None:
                raise DatabaseError(
                    f"The database could not be brought up to date and stays as it was; a row of "
                    f"{broken[0]} refers to nothing"
                )
        connection.commit()


def _back_up(url: URL, revision: str) -> None:
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    file = Path(url.database)
    partial = file.with_name(f"{file.stem}.{revision}.partial")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(partial)) as target:
        source.backup(target)
    os.replace(partial, file.with_name(f"{file.stem}.{revision}.backup.db"))
