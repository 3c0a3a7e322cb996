"""What one visitor may use, how long it stays, and examples that are there at once."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import update

from db.database import writing
from db.schema import JobRow, SessionRow, now
from engines import registry
from engines.base import UserError
from studio.config import KEPT, LOCAL, Settings
from studio.examples import prepare
from studio.jobs import given
from studio.jobs.bounded import measure
from studio.jobs.requests import check_params, refuse_local
from studio.jobs.service import Studio
from studio.jobs.views import NotFound
from studio.jobs.visited import Visited
from studio.limits import LimitReached, Limits, told
from studio.retention import Retention
from tests import engines_for_tests

ANN, BEN = secrets.token_hex(16), secrets.token_hex(16)


class Counts:
    """A queue with so many jobs in it."""

    def __init__(self, own: int = 0, everybodys: int = 0) -> None:
        self.own, self.everybodys = own, everybodys

    def waiting(self, owner: str) -> int:
        return self.own

    def waiting_of_all(self) -> int:
        return self.everybodys


@pytest.fixture
def space(home: Path) -> Settings:
    home.mkdir()
    return Settings(
        home=home, space=True, executor="inline", device="cpu", min_free_mb=0, max_files=3,
        max_waiting_jobs=5, max_waiting_all=20, max_jobs_hour=4, max_stored_mb=1, keep_hours=24,
    )  # fmt: skip


def admit(limits: Limits, owner: str = ANN, jobs: int = 1, stored: int = 0) -> None:
    limits.admit(owner, "raw.yond", [[Path("a.dng")]] * jobs, lambda: stored)


def test_each_limit_says_what_it_is(space: Settings) -> None:
    cases: tuple[tuple[Limits, dict[str, Any], str], ...] = (
        (Limits(space, Counts(own=5)), {}, "5 jobs may wait"),
        (Limits(space, Counts(everybodys=20)), {}, "Too many people"),
        (Limits(space, Counts()), {"jobs": 4}, "3 files"),
        (Limits(space, Counts()), {"stored": 2**20 + 1}, "1 MB"),
        (Limits(replace(space, min_free_mb=2**40), Counts()), {}, "no room"),
    )
    for limits, asked, word in cases:
        with pytest.raises(LimitReached, match=word):
            admit(limits, **asked)


def test_an_hour_holds_so_many_jobs_of_each(space: Settings) -> None:
    clock = [0.0]
    limits = Limits(space, Counts(), lambda: clock[0])
    admit(limits, jobs=3)
    with pytest.raises(LimitReached, match="60 minutes"):
        admit(limits, jobs=2)
    admit(limits, jobs=1)
    admit(limits, BEN, jobs=3)
    clock[0] = 3601
    admit(limits, jobs=3)


def test_the_person_at_the_machine_has_no_limits_but_the_queues(space: Settings) -> None:
    limits = Limits(space, Counts(everybodys=500))
    for owner in (LOCAL, KEPT):
        for _ in range(5):
            admit(limits, owner, jobs=5, stored=2**40)
    assert limits.room(LOCAL, 2**40) > 2**40
    assert Limits(replace(space, space=False), Counts()).room(ANN, 2**40) > 2**40
    assert limits.room(ANN, 2**20 - 7) == 7


def test_the_page_says_what_holds(space: Settings) -> None:
    sentence = told(space)
    for word in (
        "200 MB" if space.max_upload_mb == 200 else "500 MB",
        "3 files at once",
        "5 waiting jobs",
        "4 jobs an hour",
        "1 MB kept",
        "24 hours after its last run",
    ):
        assert word in sentence
    assert "restart" in told(replace(space, persistent=False))
    assert told(replace(space, space=False)) == ""


def test_a_visitor_may_run_every_engine_as_it_is() -> None:
    for engine_id in registry.engine_ids():
        refuse_local(engine_id, check_params(engine_id, {})[0])


@pytest.fixture
def studio(space: Settings, tiny_engine: str):
    made = Studio(replace(space, max_job_minutes=60, max_megapixels=1.0, max_jobs_hour=0))
    made.start()
    yield made
    made.stop()


def submit(studio: Studio, owner: str, path: Path, **params: object) -> str:
    session = studio.open_session(owner).id
    [job] = studio.submit(owner, session, engines_for_tests.INVERT, [[path]], params)
    return job


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("some text")
    return path


def test_a_job_that_takes_too_long_ends_with_a_sentence(
    studio: Studio, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = studio._runner._executor
    monkeypatch.setattr(executor, "_settings", replace(studio.settings, max_job_minutes=0.2 / 60))
    [late] = studio.wait(ANN, [submit(studio, ANN, text, seconds=30.0)])
    assert late.state == "failed"
    assert "minutes here" in (late.error or "")
    [mine] = studio.wait(LOCAL, [submit(studio, LOCAL, text, seconds=0.5)])
    assert mine.state == "done"


def test_sizes_are_read_from_headers(tmp_path: Path) -> None:
    Image.new("L", (2000, 1000)).save(tmp_path / "a.png")
    assert measure(tmp_path / "a.png").more == {"megapixels": 2.0}
    assert measure(Path("assets/examples/raw/colorchart.dng")).more["megapixels"] > 1
    sound = measure(Path("assets/examples/speech/voice-beside-a-fan.flac")).more["minutes"]
    assert 0 < sound < 1
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(UserError):
        measure(tmp_path / "b.png")


def test_what_was_left_is_deleted_after_its_time_and_nothing_else(
    studio: Studio, text: Path
) -> None:
    old = studio.wait(ANN, [submit(studio, ANN, text)])[0]
    fresh = studio.wait(BEN, [submit(studio, BEN, text)])[0]
    own = studio.wait(LOCAL, [submit(studio, LOCAL, text)])[0]
    waiting = studio.new_session(ANN, "still waits").id
    long_ago = now() - timedelta(hours=25)
    with writing(studio.factory) as session:
        session.execute(
            update(SessionRow)
            .where(SessionRow.id.in_((old.session_id, own.session_id, waiting)))
            .values(updated=long_ago)
        )
        session.execute(
            update(JobRow).where(JobRow.id.in_((old.id, own.id))).values(finished=long_ago)
        )
        session.add(JobRow(session_id=waiting, owner=ANN, engine="demo.gone", params={},
                           state="interrupted"))  # fmt: skip
    upload = studio.settings.temporary / "visitor" / "upload" / "a.dng"
    upload.parent.mkdir(parents=True)
    upload.write_text("never taken")
    hours_ago = time.time() - 7200
    for path in (upload, upload.parent):
        os.utime(path, (hours_ago, hours_ago))
    taken = upload.parent.with_name("fresh") / "a.dng"
    taken.parent.mkdir()
    taken.write_text("just sent")
    assert Retention(studio, Visited(studio.factory)).sweep() == 1
    with pytest.raises(NotFound):
        studio.job(ANN, old.id)
    assert not (studio.settings.outputs / old.session_id).exists()
    for owner, job in ((BEN, fresh), (LOCAL, own)):
        assert studio.job(owner, job.id).outputs[0].path.is_file()
    assert [one.id for one in studio.sessions(ANN)] == [waiting]
    assert not upload.exists()
    assert taken.exists()
    assert text.exists()


def test_an_example_is_there_at_once_and_is_the_visitors_own(
    studio: Studio, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given, "EXAMPLES", text.parent)
    wanted = [(engines_for_tests.INVERT, text)]
    [made] = studio.wait(KEPT, prepare(studio, wanted))
    assert prepare(studio, wanted) == []  # once
    copy = studio.job(ANN, submit(studio, ANN, text))
    assert copy.state == "done"
    assert copy.id != made.id
    assert copy.outputs[0].path.read_text() == "txet emos"
    assert copy.outputs[0].path.is_relative_to(studio.settings.outputs / copy.session_id)
    assert copy.measurements == made.measurements
    with pytest.raises(NotFound):
        studio.artifact(BEN, copy.outputs[0].id)
    other = studio.job(ANN, submit(studio, ANN, text, upper=True))
    assert other.state != "done"  # another setting is a job like all others
    studio.wait(ANN, [other.id])
    studio.delete_session(ANN, copy.session_id)
    assert made.outputs[0].path.is_file()
    made.outputs[0].path.unlink()
