"""What tests of the queue share: inputs, a session, and the look at what must always hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from engines.weights import sha256_of
from studio.config import LOCAL
from studio.folders import content
from studio.jobs.service import Studio
from studio.jobs.views import ArtifactView, JobView
from studio.workspace import MARK
from tests.studio.jobs import engines

Write = Callable[..., list[Path]]


@pytest.fixture(autouse=True)
def demo_engines(tiny_engine: str) -> None:
    """Register all demo engines for this test."""
    engines.register()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write some text files, by default "0.txt" and so on; returns their paths."""

    def writer(count: int = 1, folder: str = "inputs") -> list[Path]:
        made = [tmp_path / folder / f"{number}.txt" for number in range(count)]
        for path in made:
            path.parent.mkdir(exist_ok=True)
            if not path.exists():  # a job may be reading it
                path.write_text(f"the text {path.stem} of {folder}")
        return made

    return writer


def session_of(studio: Studio, owner: str = LOCAL) -> str:
    """Id of the owner's session."""
    return studio.open_session(owner).id


def files_below(folder: Path) -> set[str]:
    """Files and links in a folder and its folders, relative to it."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


def assert_sound(home: Path) -> None:
    """Whatever happened: the database opens, and every record of a result is of a whole file."""
    with closing(sqlite3.connect(home / "studio.db")) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert plain.execute("PRAGMA foreign_key_check").fetchall() == []
        columns = "state, path, sha256, artifacts.bytes"
        query = f"SELECT {columns} FROM artifacts JOIN jobs ON number = job_number"
        for state, path, sha256, size in plain.execute(f"{query} WHERE role != 'input'"):
            assert state == "done"
            if Path(path).is_dir():  # its mark is there until the job is settled
                assert content(Path(path), lambda: None) == (sha256, size)
            else:
                assert Path(path).stat().st_size == size
                assert sha256_of(Path(path)) == sha256


def assert_tidy(studio: Studio, jobs: list[JobView], *folders: Path) -> None:
    """Beside what the jobs made and took there is nothing, temporary or other."""
    home = studio.settings.home
    assert_sound(home)
    kept = {
        str(path.relative_to(home))
        for job in jobs
        for file in _results(job)
        if file.path.is_relative_to(home)
        for path in (files_of(file.path) if file.folder else [file.path])
    }
    assert {name for name in files_below(home) if name.startswith("outputs")} == kept
    for folder in (home, *folders):
        assert not list(folder.rglob(f"{MARK}*"))


def files_of(folder: Path) -> list[Path]:
    """All files of a folder and its folders."""
    return [path for path in folder.rglob("*") if path.is_file()]


def _results(job: JobView) -> list[ArtifactView]:
    pairs = [file for pair in (*job.comparisons, *job.tracks) for file in pair]
    thumbnail = [job.thumbnail] if job.thumbnail else []
    return [*job.outputs, *job.figures, *pairs, *thumbnail]
