"""The tables. Times are UTC; ids are 32 random hexadecimal digits."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    String,
    TypeDecorator,
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

JobState = Literal["planned", "queued", "running", "done", "failed", "cancelled", "interrupted"]
FINISHED: tuple[JobState, ...] = ("done", "failed", "cancelled")
WAITING: tuple[JobState, ...] = ("planned", "queued", "interrupted")
UNFINISHED: tuple[JobState, ...] = ("running", "interrupted")  # what a start queues again
Role = Literal["input", "output", "figure", "before", "after", "thumbnail"]


def new_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_hex(16)


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


class UtcTime(TypeDecorator[datetime]):
    """A time that comes back in UTC: SQLite keeps no zone, PostgreSQL gives its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Every stored time is of one zone, so that they compare."""
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Add the zone that every stored time has."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class FilePath(TypeDecorator[str]):
    """A path as `os` gives it, also one whose bytes are no UTF-8 (old cards, other systems).

    Python holds such bytes as lone surrogates, which no database takes; they are kept as
    "bytes:" and hexadecimal digits. A path here is absolute, so nothing else begins like that.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Escape what is no text."""
        if value is None or not _NO_TEXT.search(value):
            return value
        return _ESCAPED + os.fsencode(value).hex()

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """The path as `os` takes it."""
        if value is None or not value.startswith(_ESCAPED):
            return value
        return os.fsdecode(bytes.fromhex(value.removeprefix(_ESCAPED)))


class Words(TypeDecorator[str]):
    """Text for people: cut to the column's length, without what no database takes.

    A file name in a sentence may hold bytes that are no text (see `FilePath`).
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        super().__init__(length)
        self.length = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Make it fit."""
        return None if value is None else _NO_TEXT.sub("\ufffd", value)[: self.length]


class Key(TypeDecorator[str]):
    """An id as somebody gives it: what no database takes as text finds nothing."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Make it text."""
        return None if value is None else _NO_TEXT.sub("\ufffd", value)


_EMPTY = text("''")
_ESCAPED = "bytes:"
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


def search_words(paths: Iterable[str]) -> str:
    """What a search for text looks through: the files' names, each once, without case."""
    names = dict.fromkeys(PurePath(path).name for path in paths)
    return "\n".join(name.encode(errors="replace").decode() for name in names).casefold()


class Base(DeclarativeBase):
    """Declarative base; columns of JSON hold plain objects and lists."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, datetime: UtcTime}  # noqa: RUF012


class SessionRow(Base):
    """A named collection of jobs that belongs to one owner."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(Key(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(Key(80), index=True)
    name: Mapped[str] = mapped_column(Words(200))
    created: Mapped[datetime] = mapped_column(default=now)
    updated: Mapped[datetime] = mapped_column(default=now)
    jobs: Mapped[list[JobRow]] = relationship(
        back_populates="session", cascade="all, delete-orphan", passive_deletes=True
    )


class JobRow(Base):
    """One item to process, and all that is known of it."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_owner_number", "owner", "number"),
        Index("ix_jobs_session_number", "session_id", "number"),
        Index("ix_jobs_state_owner_number", "state", "owner", "number"),  # whose turn is it
        Index("ix_jobs_owner_started", "owner", "started"),  # when was it last
        Index("ix_jobs_deleted", "deleted"),  # what has been in the trash long enough
    )

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(Key(32), unique=True, default=new_id)
    session_id: Mapped[str] = mapped_column(Key(32), ForeignKey("sessions.id", ondelete="CASCADE"))
    owner: Mapped[str] = mapped_column(Key(80))
    batch: Mapped[str | None] = mapped_column(Key(64), index=True)
    engine: Mapped[str] = mapped_column(Key(80))
    engine_version: Mapped[str] = mapped_column(String(20), default="")
    params: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(12), default="queued")
    done: Mapped[float] = mapped_column(default=0.0)
    total: Mapped[float] = mapped_column(default=0.0)
    text: Mapped[str] = mapped_column(Words(300), default="")
    error: Mapped[str | None] = mapped_column(Words)
    device: Mapped[str] = mapped_column(Words(20), default="auto")
    seed: Mapped[int] = mapped_column(BigInteger, default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    out_dir: Mapped[str | None] = mapped_column(FilePath)
    source: Mapped[str] = mapped_column(String(8), default="page")
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime] = mapped_column(default=now)
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]
    seconds: Mapped[float | None]
    peak_mb: Mapped[float | None]
    versions: Mapped[dict[str, Any]] = mapped_column(default=dict)
    models: Mapped[dict[str, Any]] = mapped_column(default=dict)
    notes: Mapped[list[Any]] = mapped_column(default=list)
    moving: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))  # see delivery.py
    # What the library shows, finds and sorts by, so that it need not look into other tables.
    name: Mapped[str] = mapped_column(Words(200), default="", server_default=_EMPTY)
    words: Mapped[str] = mapped_column(Words, default="", server_default=_EMPTY)  # search_words
    kind: Mapped[str] = mapped_column(String(12), default="", server_default=_EMPTY)
    camera: Mapped[str] = mapped_column(Words(120), default="", server_default=_EMPTY)
    bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    deleted: Mapped[datetime | None]  # since then in the trash
    parent: Mapped[str | None] = mapped_column(Key(32), index=True)  # the step before
    recipe: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    runner: Mapped[str | None] = mapped_column(Key(32))  # whose it is to do; see keeper.py
    beat: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    session: Mapped[SessionRow] = relationship(back_populates="jobs")
    artifacts: Mapped[list[ArtifactRow]] = relationship(
        back_populates="job",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="ArtifactRow.position",
    )
    measurements: Mapped[list[MeasurementRow]] = relationship(
        back_populates="job",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="MeasurementRow.position",
    )


class ArtifactRow(Base):
    """A file that went in or came out."""

    __tablename__ = "artifacts"
    __table_args__ = (Index("ix_artifacts_owner_sha256", "owner", "sha256"),)  # of one input

    id: Mapped[str] = mapped_column(Key(32), primary_key=True, default=new_id)
    job_number: Mapped[int] = mapped_column(
        ForeignKey("jobs.number", ondelete="CASCADE"), index=True
    )
    owner: Mapped[str] = mapped_column(Key(80))
    role: Mapped[str] = mapped_column(String(12))
    kind: Mapped[str] = mapped_column(String(12))
    label: Mapped[str] = mapped_column(Words(200), default="")
    path: Mapped[str] = mapped_column(FilePath, index=True)
    sha256: Mapped[str] = mapped_column(String(64), default="")
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    primary: Mapped[bool] = mapped_column(default=False)
    position: Mapped[int] = mapped_column(default=0)
    job: Mapped[JobRow] = relationship(back_populates="artifacts")


class MeasurementRow(Base):
    """A number that an engine found."""

    __tablename__ = "measurements"
    __table_args__ = (Index("ix_measurements_name_value", "name", "value"),)

    job_number: Mapped[int] = mapped_column(
        ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(Words(80), primary_key=True)
    value: Mapped[float]
    unit: Mapped[str] = mapped_column(Words(40), default="")
    position: Mapped[int] = mapped_column(default=0)
    job: Mapped[JobRow] = relationship(back_populates="measurements")


class PresetRow(Base):
    """Named settings of one engine; `starts` where its tab begins with it."""

    __tablename__ = "presets"

    id: Mapped[str] = mapped_column(Key(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(Key(80), index=True)
    engine: Mapped[str] = mapped_column(Key(80))
    name: Mapped[str] = mapped_column(Words(200))
    params: Mapped[dict[str, Any]]
    starts: Mapped[bool] = mapped_column(default=False, server_default=false())
    created: Mapped[datetime] = mapped_column(default=now)


class RecipeRow(Base):
    """A chain of engines with their settings; `content` is what its file holds."""

    __tablename__ = "recipes"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(String(80), index=True)
    name: Mapped[str] = mapped_column(Words(200))
    content: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=now)


class WatchedRow(Base):
    """A file that a watched folder had: `batch` are the jobs that it became, "" if it had none."""

    __tablename__ = "watched"
    __table_args__ = (Index("ix_watched_watch_sha256", "watch", "sha256"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    watch: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(FilePath)
    bytes: Mapped[int] = mapped_column(BigInteger)
    changed: Mapped[int] = mapped_column(BigInteger)  # ns
    sha256: Mapped[str] = mapped_column(String(64))
    batch: Mapped[str] = mapped_column(String(64), default="")
    ended: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime] = mapped_column(default=now)


class CameraRow(Base):
    """The noise of somebody's camera, as a job measured it; it goes with that job."""

    __tablename__ = "cameras"
    __table_args__ = (Index("ix_cameras_owner_created", "owner", "created"),)

    id: Mapped[str] = mapped_column(Key(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(Key(80))
    job_number: Mapped[int] = mapped_column(
        ForeignKey("jobs.number", ondelete="CASCADE"), index=True
    )
    name: Mapped[str] = mapped_column(Words(200))
    model: Mapped[str] = mapped_column(Words(120))
    profile: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=now)


class ModelRow(Base):
    """Weights that were added to this studio."""

    __tablename__ = "models"

    id: Mapped[str] = mapped_column(Key(120), primary_key=True)
    layout: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(12))
    source: Mapped[str]
    licence: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(FilePath)
    bytes: Mapped[int] = mapped_column(BigInteger)
    added: Mapped[datetime] = mapped_column(default=now)
