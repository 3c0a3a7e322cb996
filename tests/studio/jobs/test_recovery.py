"""kill -9 of the whole studio, at every step of a delivery and at random moments."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from studio.config import LOCAL, Settings
from studio.inbox import Inbox
from studio.jobs.new_job import NewJob
from studio.jobs.service import Studio
from studio.workspace import MARK
from tests.studio.jobs.conftest import Write, assert_sound, assert_tidy, files_below
from tests.studio.jobs.studio_process import Nursery, Plan, start

# Two outputs a job, so the third call is the second job's first; other steps come once a job.
STEPS = [
    ("studio.jobs.store:Store.claim", "after", 2),
    ("studio.jobs.delivery:Delivery.prepare", "after", 2),
    ("studio.jobs.perform:_files", "before", 2),
    ("studio.jobs.delivery:stage", "after", 3),
    ("studio.jobs.store:Store.journal", "before", 3),
    ("studio.jobs.store:Store.journal", "after", 3),
    ("studio.jobs.delivery:reveal", "after", 3),
    ("studio.jobs.delivery:reveal", "after", 4),
    ("os:rename", "before", 2),
    ("os:rename", "after", 2),
    ("studio.jobs.store:Store.finish", "before", 2),
    ("studio.jobs.store:Store.finish", "after", 2),
    ("studio.jobs.delivery:Delivery.settle", "after", 2),
    ("studio.jobs.store:Store.settled", "after", 2),
]
WITHOUT_LINKS = [
    ("studio.jobs.delivery:stage", "after", 3),
    ("os:replace", "before", 3),
    ("studio.jobs.delivery:reveal", "after", 3),
    ("studio.jobs.store:Store.finish", "after", 2),
]
# Two folders and a file a job, so the fourth call is the second job's first folder.
FOLDERS = [
    ("studio.jobs.delivery:stage", "after", 4),
    ("studio.workspace:sync_tree", "before", 3),
    ("studio.jobs.store:Store.journal", "after", 4),
    ("studio.workspace:_reveal_folder", "before", 3),
    ("os:rename", "before", 6),
    ("studio.jobs.delivery:reveal", "after", 4),
    ("studio.jobs.delivery:reveal", "after", 6),
    ("studio.jobs.store:Store.finish", "before", 2),
    ("studio.jobs.store:Store.finish", "after", 2),
    ("studio.jobs.delivery:settle", "after", 4),
    ("studio.jobs.store:Store.settled", "after", 2),
]
IN_RECOVERY = [
    ("studio.jobs.recovery:retract", "after", 1),
    ("studio.jobs.store:Store.settled", "after", 1),
    ("studio.jobs.store:Store.requeue_unfinished", "before", 1),
    ("studio.jobs.store:Store.requeue_unfinished", "after", 1),
]


@pytest.fixture
def plan(home: Path, tmp_path: Path, write: Write) -> Plan:
    """Three jobs of two outputs each."""
    return Plan(
        str(home), str(tmp_path / "out"), [str(path) for path in write(3)], params={"times": 2}
    )


Killed = Callable[[Plan], None]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def killed(nursery: Nursery) -> Killed:
    """Run a plan that ends by its own hand, and look at what it left."""

    def run(plan: Plan) -> None:
        assert nursery.run(plan) == -signal.SIGKILL
        assert_sound(Path(plan.home))

    return run


def _after_a_start(settings: Settings, plan: Plan, made: set[str] | None = None) -> None:
    """The next start makes everything true: each job done once, and nothing but its files."""
    out, inputs = Path(plan.out), [Path(path) for path in plan.inputs]
    studio = Studio(settings)
    studio.start()
    try:
        ids = [job.id for job in studio.jobs(LOCAL, limit=1000, newest_first=False)]
        jobs = studio.wait(LOCAL, ids)
        assert [job.state for job in jobs] == ["done"] * len(inputs)
        assert [job.inputs[0].path for job in jobs] == inputs
        assert_tidy(studio, jobs, out)
        for path in inputs:
            assert path.read_text() == f"the text {path.stem} of inputs"
        if made is not None:
            assert files_below(out) == made
        else:
            assert files_below(out) == {f"{path.stem}.{n}.bin" for path in inputs for n in range(2)}
        for path in inputs if made is None else ():
            for number in range(2):
                content = (out / f"{path.stem}.{number}.bin").read_bytes()
                assert content.startswith(path.read_bytes())
        assert studio.store.leftovers() == []
    finally:
        studio.stop()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step[1]} {step[0].partition(':')[2]}")
def test_killed_at_a_step_of_a_delivery(
    plan: Plan, settings: Settings, killed: Killed, step: tuple[str, str, int]
) -> None:
    killed(replace(plan, die=step))
    _after_a_start(settings, plan)


@pytest.mark.parametrize(
    "step", WITHOUT_LINKS, ids=lambda step: f"{step[1]} {step[0].partition(':')[2]}"
)
def test_killed_where_no_hard_links_are_known(
    plan: Plan, settings: Settings, killed: Killed, step: tuple[str, str, int]
) -> None:
    killed(replace(plan, links=False, die=step))
    _after_a_start(settings, plan)


@pytest.mark.parametrize(
    "step", IN_RECOVERY, ids=lambda step: f"{step[1]} {step[0].partition(':')[2]}"
)
def test_killed_again_while_it_recovers(
    plan: Plan, settings: Settings, killed: Killed, step: tuple[str, str, int]
) -> None:
    killed(replace(plan, die=("studio.jobs.delivery:reveal", "after", 3)))
    killed(replace(plan, inputs=(), die=step))
    _after_a_start(settings, plan)


@pytest.mark.parametrize(
    "step", FOLDERS, ids=lambda step: f"{step[1]} {step[0].partition(':')[2]} {step[2]}"
)
def test_killed_while_folders_are_delivered(
    plan: Plan, settings: Settings, killed: Killed, step: tuple[str, str, int]
) -> None:
    plan = replace(plan, engine="demo.tree")
    killed(replace(plan, die=step))
    _after_a_start(settings, plan, _trees(plan))


def test_killed_while_a_folder_is_taken_back(
    plan: Plan, settings: Settings, killed: Killed
) -> None:
    plan = replace(plan, engine="demo.tree")
    killed(replace(plan, die=("studio.jobs.delivery:reveal", "after", 4)))
    killed(replace(plan, inputs=(), die=("studio.workspace:remove", "before", 1)))
    _after_a_start(settings, plan, _trees(plan))


def test_a_folder_that_took_the_name_meanwhile_stays(
    plan: Plan, settings: Settings, killed: Killed
) -> None:
    plan = replace(plan, engine="demo.tree")
    killed(replace(plan, die=("studio.jobs.store:Store.journal", "after", 4)))
    mine = Path(plan.out) / "1.0"
    mine.mkdir()
    (mine / "config.json").write_text("mine")
    trees = {name.replace("1.0", "1.0-2") if name[0] == "1" else name for name in _trees(plan)}
    _after_a_start(settings, plan, {*trees, "1.0/config.json"})
    assert (mine / "config.json").read_text() == "mine"


def _trees(plan: Plan) -> set[str]:
    stems = [Path(path).stem for path in plan.inputs]
    folders = [f"{stem}.{number}" for stem in stems for number in range(2)]
    names = {f"{folder}/{name}" for folder in folders for name in ("config.json", "deep/b.bin")}
    return names | {f"{stem}.report.json" for stem in stems}


@pytest.mark.parametrize("step", ["stage", "reveal"])
def test_what_is_not_run_again_leaves_nothing_either(
    plan: Plan, settings: Settings, killed: Killed, step: str
) -> None:
    killed(replace(plan, die=(f"studio.jobs.delivery:{step}", "after", 1)))
    assert files_below(Path(plan.out))
    studio = Studio(settings)
    assert studio.cancel_all(LOCAL) == 3  # by a window that was still open
    studio.start()
    jobs = studio.jobs(LOCAL)
    assert [job.state for job in jobs] == ["cancelled"] * 3
    assert_tidy(studio, jobs, Path(plan.out))
    assert files_below(Path(plan.out)) == set()
    studio.stop()


def test_a_file_that_took_the_name_meanwhile_stays(
    plan: Plan, settings: Settings, killed: Killed, tmp_path: Path
) -> None:
    killed(replace(plan, die=("studio.jobs.store:Store.journal", "after", 3)))
    (tmp_path / "out" / "1.0.bin").write_text("mine")
    studio = Studio(settings)
    studio.start()
    jobs = studio.wait(LOCAL, [job.id for job in studio.jobs(LOCAL)])
    assert {job.state for job in jobs} == {"done"}
    assert (tmp_path / "out" / "1.0.bin").read_text() == "mine"
    assert (tmp_path / "out" / "1.0-2.bin").is_file()
    assert_tidy(studio, jobs, tmp_path / "out")
    studio.stop()


def _done(home: Path) -> int:
    if not (home / "studio.db").is_file():
        return 0
    with closing(sqlite3.connect(home / "studio.db")) as plain:
        try:
            query = "SELECT count(*) FROM jobs WHERE state = 'done'"
            return plain.execute(query).fetchone()[0]
        except sqlite3.OperationalError:  # no tables yet
            return 0


def _one_more_done(process: subprocess.Popen[str], home: Path) -> bool:
    """Wait until a studio has done at least one more job; False if it has ended instead."""
    before = _done(home)
    while process.poll() is None:
        if _done(home) > before:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.slow
def test_killed_at_random_moments_until_all_is_done(
    plan: Plan, settings: Settings, write: Write
) -> None:
    """`NOISE_STUDIO_KILLS=100` kills more often, on more files."""
    kills = int(os.environ.get("NOISE_STUDIO_KILLS", "3"))
    # A quiet machine does a dozen in the time until the kill, and each kill must find some left.
    inputs = [str(path) for path in write(kills * 40)]
    plan = replace(plan, inputs=inputs, params={"times": 2, "kilobytes": 64}, executor="worker")
    hit = 0
    for _ in range(kills):
        with start(replace(plan, inputs=() if hit else inputs)) as process:
            assert _one_more_done(process, settings.home)
            time.sleep(random.uniform(0.0, 0.3))
            family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            hit += 1
            assert psutil.wait_procs(family, timeout=10)[1] == []
        assert_sound(settings.home)
    assert hit == kills
    _after_a_start(replace(settings, executor="worker"), plan)


# What else a start clears up


def test_what_belongs_to_nobody_goes_and_the_rest_stays(
    settings: Settings, tmp_path: Path, write: Write
) -> None:
    studio = Studio(settings)
    studio.start()
    session = studio.open_session(LOCAL).id
    ids = studio.submit(LOCAL, session, "demo.big", [[path] for path in write(1)], {})
    [job] = studio.wait(LOCAL, ids)
    inbox = Inbox(settings.uploads)
    sent = tmp_path / "sent" / "chosen.txt"
    sent.parent.mkdir()
    sent.write_text("chosen, and not run yet")
    inbox.add_uploads(session, "demo", [sent])
    [used] = write(1, "used")
    ids = studio.submit(LOCAL, session, "demo.big", [[used]], {}, uploads=True)
    [other] = studio.wait(LOCAL, ids)
    studio.stop()
    for stray in (
        settings.outputs / session / ("0" * 32) / "a.bin",  # rows deleted, files not yet
        settings.outputs / session / f"{MARK}{'0' * 32}-1234" / "half.bin",
        settings.outputs / "another session" / "job" / "a.bin",
        settings.uploads / session / "0123" / "unknown.txt",  # moved, and not recorded
        settings.uploads / session / "chosen" / "4567" / "unlisted.txt",
        settings.uploads / "another session" / "0123" / "a.txt",
        settings.temporary / "0123" / "gradio.txt",
    ):
        stray.parent.mkdir(parents=True)
        stray.write_text("stray")
    studio = Studio(settings)
    studio.start()
    kept = {file.path.name for file in inbox.files(session, "demo")}
    assert kept == {"chosen.txt"}
    assert other.inputs[0].path.is_file()
    assert len(files_below(settings.uploads)) == 3  # these two and the list
    assert_tidy(studio, [job, other])
    assert not settings.temporary.exists()
    assert {path.name for path in settings.outputs.iterdir()} == {session}
    studio.stop()


def test_a_disk_that_is_not_there_keeps_nobody_from_starting(
    settings: Settings, tmp_path: Path
) -> None:
    studio = Studio(settings)
    session = studio.open_session(LOCAL).id
    [job_id] = studio.store.add(LOCAL, session, [
        NewJob("demo.big", "1", {}, [tmp_path / "gone" / "a.txt"], "document",
               out_dir=tmp_path / "gone" / "out")
    ])  # fmt: skip
    assert studio.store.claim("cpu") is not None  # and then the studio was killed
    studio.start()
    [job] = studio.wait(LOCAL, [job_id])
    assert job.error == "There is no file a.txt here any more; choose it again"
    studio.stop()
