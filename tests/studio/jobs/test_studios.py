"""Two studios with one PostgreSQL database: each job once; what a lost one had begun goes on."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from db.database import close_database, open_database
from db.schema import JobRow
from studio.config import LOCAL, Settings
from studio.jobs import keeper
from studio.jobs.keeper import Watch
from studio.jobs.recovery import take_over
from studio.jobs.service import Studio
from studio.jobs.store import Store
from studio.jobs.store_runner import Leftover
from studio.jobs.task import Outcome, Progress
from studio.jobs.views import NotFound
from studio.workspace import MARK
from tests.studio.jobs.conftest import Write, files_below, session_of
from tests.studio.jobs.studio_process import Plan, start
from tests.studio.jobs.test_store import _add

Start = Callable[..., Studio]


@pytest.fixture
def start_studio(
    settings: Settings, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    """Start studios that share a home and a database, each as if on a machine of its own."""
    monkeypatch.setattr(keeper, "BEAT_EVERY", 0.1)
    monkeypatch.setattr(keeper, "LOST_AFTER", 1.5)
    with ExitStack() as stack:

        def starter(machine: str) -> Studio:
            monkeypatch.setattr("platform.node", lambda: machine)
            studio = Studio(replace(settings, database_url=postgres_url))
            stack.callback(studio.stop)
            studio.start()
            return studio

        yield starter


def _submit(
    studio: Studio, paths: list[Path], out: Path | None = None, **params: object
) -> list[str]:
    items = [[path] for path in paths]
    return studio.submit(LOCAL, session_of(studio), "demo.invert", items, params, out_dir=out)


def _until(true: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "this was waited for in vain"
        time.sleep(0.02)


def test_two_studios_do_each_job_once(start_studio: Start, write: Write, tmp_path: Path) -> None:
    first, second = start_studio("one"), start_studio("two")
    assert first.is_runner
    assert second.is_runner
    ids = _submit(first, write(12), tmp_path / "out", seconds=0.1)
    jobs = second.wait(LOCAL, ids)
    assert [job.state for job in jobs] == ["done"] * 12
    assert files_below(tmp_path / "out") == {f"{n}.inverted.txt" for n in range(12)}
    _until(lambda: first.store.leftovers() == [])
    with first.store._factory() as session:
        rows = [(row.runner, row.attempts) for row in session.scalars(select(JobRow))]
    assert {attempts for _, attempts in rows} == {1}
    assert set(Counter(runner for runner, _ in rows)) == {first.store.me, second.store.me}


def test_a_studio_that_starts_leaves_the_others_job_alone(
    start_studio: Start, write: Write, tmp_path: Path
) -> None:
    first = start_studio("one")
    [job_id] = _submit(first, write(1), tmp_path / "out", seconds=1.0)
    _until(lambda: first.job(LOCAL, job_id).done > 0)
    workspaces = list(first.settings.outputs.glob(f"*/{MARK}*"))
    assert len(workspaces) == 1
    second = start_studio("two")
    assert second.job(LOCAL, job_id).state == "running"
    assert workspaces[0].is_dir()
    [job] = second.wait(LOCAL, [job_id])
    assert (job.state, job.outputs[0].missing) == ("done", False)
    assert files_below(tmp_path / "out") == {"0.inverted.txt"}


def test_what_a_killed_studio_had_begun_is_done_by_the_other_one(
    start_studio: Start, settings: Settings, postgres_url: str, write: Write, tmp_path: Path
) -> None:
    out, inputs = tmp_path / "out", write(2)
    plan = Plan(home=str(settings.home), out=str(out), inputs=[str(path) for path in inputs],
                die=("studio.jobs.delivery:reveal", "after", 1))  # fmt: skip
    with _there(plan, postgres_url) as process:
        assert process.wait(timeout=90) < 0
    assert list(out.glob(f"{MARK}*"))
    other = start_studio("two")
    jobs = other.wait(LOCAL, [job.id for job in other.jobs(LOCAL)])
    assert [job.state for job in jobs] == ["done"] * 2
    assert files_below(out) == {f"{n}.0.bin" for n in range(2)}
    assert not list(settings.outputs.rglob(f"{MARK}*"))


def _there(plan: Plan, url: str) -> subprocess.Popen[str]:
    before = os.environ.get("STUDIO_DATABASE_URL")
    os.environ["STUDIO_DATABASE_URL"] = url
    try:
        return start(plan)
    finally:
        if before is None:
            del os.environ["STUDIO_DATABASE_URL"]


# The same, in the database alone


@pytest.fixture
def stores(database_url: str) -> Iterator[tuple[Store, Store]]:
    factories = [open_database(database_url) for _ in range(2)]
    yield Store(factories[0]), Store(factories[1])
    for factory in factories:
        close_database(factory)


def test_who_was_taken_for_gone_changes_nothing_any_more(
    stores: tuple[Store, Store], settings: Settings
) -> None:
    one, two = stores
    [job_id] = _add(one, "ann")
    assert one.claim("cpu") is not None
    assert one.others() == set()
    assert two.others() == {job_id}
    [seen] = two.leftovers()
    one.beat()
    assert not take_over(two, settings, [seen])  # it lives
    assert take_over(two, settings, two.leftovers())
    assert one.taken_over(job_id)
    claimed = None
    for _ in range(2):  # while it waits, and while the other one does it
        one.progress(job_id, Progress(9, 10, "from the grave"))
        with pytest.raises(NotFound):
            one.journal(job_id, [])
        assert one.cancel_requested(job_id)
        assert not one.finish(job_id, Outcome("failed", "too late"))
        one.interrupt(job_id)
        job = two.job("ann", job_id)
        assert (job.error, job.text == "from the grave") == (None, False)
        claimed = two.claim("cpu")
    assert claimed is None
    assert two.job("ann", job_id).state == "running"
    assert not two.taken_over(job_id)


def test_only_one_takes_a_lost_job_over(stores: tuple[Store, Store]) -> None:
    one, two = stores
    _add(one, "ann")
    lost = Store(one._factory)
    assert lost.claim("cpu") is not None
    [job] = one.leftovers()
    assert [one.take_over(job), two.take_over(job)] == [True, False]


def test_a_job_is_lost_when_its_beat_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    watch = Watch(30.0)
    still = Leftover("still", "s", False, None, (), "gone", 7)
    for step in range(7):
        now = 1000.0 + 5 * step
        lives = Leftover("lives", "s", False, None, (), "there", step)
        lost = watch.lost([still, lives])
        assert [job.id for job in lost] == (["still"] if step == 6 else [])
    nobodys = Leftover("nobodys", "s", False, None, (), None, 0)
    assert watch.lost([nobodys]) == [nobodys]
