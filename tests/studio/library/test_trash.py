"""What is deleted leaves the disk after its time, not before, and a restart changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from db.database import writing
from db.schema import JobRow, now
from engines.base import UserError
from studio.config import LOCAL, Settings
from studio.jobs.service import Studio
from studio.library.service import Library, kept
from tests.studio.scenes import finished, scene_of, submitted, texts

pytestmark = pytest.mark.usefixtures("tiny_engine")


def _deleted_ago(studio: Studio, age: timedelta) -> None:
    with writing(studio.store._factory) as session:
        session.execute(
            update(JobRow).where(JobRow.deleted.is_not(None)).values(deleted=now() - age)
        )


def test_files_stay_until_the_time_is_over_also_after_a_restart(
    studio: Studio, settings: Settings, tmp_path: Path
) -> None:
    [job, other] = finished(scene_of(studio), texts(tmp_path, "a.txt", "b.txt"))
    library = Library(studio)
    assert library.delete(LOCAL, [job.id]).ids == (job.id,)
    _deleted_ago(studio, library.kept - timedelta(minutes=1))
    assert library.sweep() == 0
    assert job.outputs[0].path.is_file()
    studio.stop()

    again = Studio(settings)
    again.start()
    try:
        library = Library(again)
        assert job.outputs[0].path.is_file()
        _deleted_ago(again, library.kept + timedelta(minutes=1))
        assert library.sweep() == 1
        assert not job.outputs[0].path.exists()
        assert library.restore(LOCAL, [job.id]) == []
        assert other.outputs[0].path.is_file()
        assert (tmp_path / "a.txt").is_file()
    finally:
        again.stop()


def test_emptying_is_of_ones_own_and_strangers_things_are_kept_shorter(
    studio: Studio, settings: Settings, tmp_path: Path
) -> None:
    library = Library(studio)
    mine, theirs = scene_of(studio), scene_of(studio, "b" * 32)
    [a] = finished(mine, texts(tmp_path, "a.txt"))
    [b] = finished(theirs, texts(tmp_path, "b.txt"))
    library.delete(mine.owner, [a.id])
    library.delete(theirs.owner, [b.id])
    assert library.empty(mine.owner) == 1
    assert not a.outputs[0].path.exists()
    assert b.outputs[0].path.is_file()
    assert kept(replace(settings, space=True)) < kept(settings)


def test_what_waits_is_cancelled_and_failures_are_tidied(studio: Studio, tmp_path: Path) -> None:
    library, scene = Library(studio), scene_of(studio)
    finished(scene, texts(tmp_path, "bad.txt"), fail="user")
    running, waiting = submitted(scene, texts(tmp_path, "a.txt", "b.txt"), seconds=30)
    deleted = library.delete(LOCAL, [waiting])
    assert deleted.ids == (waiting,)
    studio.cancel(LOCAL, running)
    studio.wait(LOCAL, [running], poll=0.01)
    assert len(library.tidy(LOCAL).ids) == 2
    assert studio.jobs(LOCAL) == []


def test_only_finished_results_of_one_file_are_compared(studio: Studio, tmp_path: Path) -> None:
    library, scene = Library(studio), scene_of(studio)
    a, b = finished(scene, texts(tmp_path, "a.txt", "b.txt"))
    [again] = finished(scene, [tmp_path / "a.txt"], repeat=2)
    assert [job.id for job in library.pair(LOCAL, a.id, again.id)] == [a.id, again.id]
    for one, other, why in ((a, b, "different files"), (a, a, "two different results")):
        with pytest.raises(UserError, match=why):
            library.pair(LOCAL, one.id, other.id)
