"""Opening the database: pragmas, migrations, a backup before each, refusal of a newer one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

_MIGRATIONS = Path(__file__).resolve().parent / "migrations"


class DatabaseError(Exception):
    """The database cannot be used; one sentence."""


def open_database(url: str) -> sessionmaker[Session]:
    """Connect, migrate to the newest revision, return the session factory.

    Raises:
        DatabaseError: it was written by a newer release, or cannot be opened.
    """
    engine = connect(url)
    try:
        migrate(engine)
    except sqlite3.Error as error:
        raise DatabaseError(f"The database cannot be opened: {error}") from error
    return sessionmaker(engine, expire_on_commit=False)


def connect(url: str) -> Engine:
    """An engine whose SQLite connections use WAL, enforce foreign keys and wait for a lock."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": 30})

    def set_pragmas(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = FULL")  # a recorded result survives a power cut
        cursor.close()

    event.listen(engine, "connect", set_pragmas)
    return engine


def migrate(engine: Engine) -> None:
    """Bring the tables to the newest revision, keeping a copy of an SQLite file before a change.

    Raises:
        DatabaseError: the revision is unknown, so a newer release wrote it.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    known = {revision.revision for revision in script.walk_revisions()}
    head = script.get_current_head()
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        if current == head:
            return
        if current is not None and current not in known:
            raise DatabaseError(
                f"This database was written by a newer Noise Studio (revision {current}); "
                "update the studio, or choose another STUDIO_HOME"
            )
        if current is not None:
            _back_up(engine, current)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def _back_up(engine: Engine, revision: str) -> None:
    database = engine.url.database
    if engine.dialect.name != "sqlite" or not database:
        return
    copy = Path(database).with_name(f"{Path(database).stem}.{revision}.backup.db")
    with sqlite3.connect(database) as source, sqlite3.connect(copy) as target:
        source.backup(target)
