"""The queue as people run it: a real worker, several studios on one home, a disk that is full."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.config import LOCAL, Settings
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from tests.studio.jobs.conftest import Write, assert_sound, assert_tidy, files_below, session_of
from tests.studio.jobs.studio_process import Plan, start

PROMISED = 3.0  # seconds within which a cancelled job has stopped, whatever it does
Start = Callable[..., Studio]


@pytest.fixture
def start_studio(settings: Settings) -> Iterator[Start]:
    """Start studios on this test's home, one after another or at once; they end with it."""
    with ExitStack() as stack:

        def starter(**changes: object) -> Studio:
            studio = Studio(replace(settings, **changes))
            stack.callback(studio.stop)
            studio.start()
            return studio

        yield starter


def _submit(
    studio: Studio, paths: list[Path], engine: str = "demo.invert", out: Path | None = None,
    **params: object,
) -> list[str]:  # fmt: skip
    items = [[path] for path in paths]
    return studio.submit(LOCAL, session_of(studio), engine, items, params, out_dir=out)


def _until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "this was waited for in vain"
        time.sleep(0.02)


def _worker(studio: Studio) -> int:
    [worker] = [
        process.pid
        for process in psutil.Process().children()
        if "spawn_main" in " ".join(process.as_dict(["cmdline"])["cmdline"] or [])  # or a zombie
    ]
    return worker


def test_a_batch_goes_on_when_its_worker_is_killed(
    worker_studio: Studio, write: Write, tmp_path: Path
) -> None:
    studio, inputs = worker_studio, write(5)
    before = [path.read_bytes() for path in inputs]
    ids = _submit(studio, inputs[:2], out=tmp_path / "out")
    ids += _submit(studio, inputs[2:3], "demo.crash", out=tmp_path / "out")
    ids += _submit(studio, inputs[3:4], seconds=30)
    ids += _submit(studio, inputs[4:], out=tmp_path / "out")
    killed: list[str] = []

    def kill(job: JobView) -> None:
        if job.id == ids[3] and job.state == "running" and job.done and not killed:
            os.kill(_worker(studio), signal.SIGKILL)
            killed.append(job.id)

    jobs = studio.wait(LOCAL, ids, kill)
    assert [job.state for job in jobs] == ["done", "done", "failed", "failed", "done"]
    for job in jobs[2:4]:
        assert job.error is not None
        assert job.error.startswith("The worker was ended by the system")
    assert [path.read_bytes() for path in inputs] == before
    assert files_below(tmp_path / "out") == {f"{n}.inverted.txt" for n in (0, 1, 4)}
    assert_tidy(studio, jobs, tmp_path / "out")


@pytest.mark.parametrize("engine", ["demo.invert", "demo.stuck"])
def test_a_cancelled_job_has_stopped_within_three_seconds(
    worker_studio: Studio, write: Write, engine: str
) -> None:
    here, elsewhere = worker_studio, Studio(worker_studio.settings)  # another process, as it were
    for studio in (here, elsewhere):
        params: dict[str, Any] = {"seconds": 30} if engine == "demo.invert" else {}
        [job_id] = _submit(here, write(1), engine, **params)
        _until(lambda job_id=job_id: here.job(LOCAL, job_id).done > 0)
        asked = time.monotonic()
        studio.cancel(LOCAL, job_id)
        [job] = here.wait(LOCAL, [job_id], poll=0.02)
        assert time.monotonic() - asked < PROMISED
        assert (job.state, job.error) == ("cancelled", None)
        assert_tidy(here, [job])
    elsewhere.stop()


def test_a_studio_that_is_closed_goes_on_where_it_was(
    start_studio: Start, write: Write, tmp_path: Path
) -> None:
    studio = start_studio()
    ids = _submit(studio, write(3), seconds=0.5, out=tmp_path / "out")
    _until(lambda: studio.job(LOCAL, ids[1]).done > 0)
    studio.stop()
    assert [studio.job(LOCAL, job_id).state for job_id in ids] == ["done", "interrupted", "queued"]
    assert files_below(tmp_path / "out") == {"0.inverted.txt"}
    assert studio.queue(LOCAL).waiting == 2
    studio.stop()  # once more does no harm

    again = start_studio()
    jobs = again.wait(LOCAL, ids)
    assert {job.state for job in jobs} == {"done"}
    assert_tidy(again, jobs, tmp_path / "out")


def test_one_of_several_studios_does_the_jobs_and_another_takes_over(
    start_studio: Start, settings: Settings, write: Write, tmp_path: Path
) -> None:
    inputs = [str(path) for path in write(40)]
    plan = Plan(str(settings.home), str(tmp_path / "out"), inputs, "demo.invert", {"seconds": 0.1})
    with start(plan) as other:
        _until(lambda: (settings.home / "runner.lock").exists())
        watcher = Studio(settings)
        _until(lambda: watcher.counts(LOCAL).get("done", 0) > 0)
        watcher.start()
        assert not watcher.is_runner
        [mine] = _submit(watcher, write(1, "mine"))  # it queues for the other to do
        done = watcher.counts(LOCAL)["done"]
        _until(lambda: watcher.counts(LOCAL)["done"] > done)
        assert not watcher.is_runner
        other.kill()
    jobs = watcher.wait(LOCAL, [job.id for job in watcher.jobs(LOCAL, limit=100)])
    assert watcher.is_runner
    assert mine in [job.id for job in jobs]
    assert {job.state for job in jobs} == {"done"}
    assert len(files_below(tmp_path / "out")) == 40
    assert_tidy(watcher, jobs, tmp_path / "out")
    watcher.stop()
    assert not watcher.is_runner


def test_who_stops_in_good_order_hands_over_too(start_studio: Start, write: Write) -> None:
    first, second = start_studio(), start_studio()
    assert (first.is_runner, second.is_runner) == (True, False)
    ids = _submit(second, write(2), seconds=2)
    _until(lambda: first.job(LOCAL, ids[0]).done > 0)
    first.stop()
    assert {job.state for job in second.wait(LOCAL, ids)} == {"done"}
    assert second.is_runner


# A disk that is full


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 megabytes of its own: the database and its log take some."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_outputs_that_do_not_fit_are_a_sentence_and_the_rest_goes_on(
    start_studio: Start, write: Write, disk: Path
) -> None:
    studio = start_studio()
    inputs = write(4)
    before = [path.read_bytes() for path in inputs]
    ids = [
        job_id
        for path, kilobytes, times in zip(
            inputs, (4000, 20000, 4000, 4000), (1, 1, 5, 1), strict=True
        )
        for job_id in _submit(studio, [path], "demo.big", disk, kilobytes=kilobytes, times=times)
    ]
    jobs = studio.wait(LOCAL, ids)
    full = "The disk that holds disk is full; free some space and run it again"
    assert [job.error for job in jobs] == [None, full, full, None]
    assert files_below(disk) == {"0.0.bin", "3.0.bin"}
    assert_tidy(studio, jobs, disk)
    assert [path.read_bytes() for path in inputs] == before


def test_a_studio_on_a_small_disk_goes_on_as_well(
    start_studio: Start, write: Write, disk: Path
) -> None:
    studio = start_studio(home=disk)
    ids = [
        job_id
        for path, kilobytes in zip(write(3), (100, 20000, 100), strict=True)
        for job_id in _submit(studio, [path], "demo.big", kilobytes=kilobytes)
    ]
    jobs = studio.wait(LOCAL, ids)
    assert [job.error for job in jobs] == [
        None,
        "The disk is full; free some space and run it again",
        None,
    ]
    assert_tidy(studio, jobs)


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_the_queue_waits_for_room_when_nothing_can_be_recorded(
    start_studio: Start, write: Write, disk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    studio = start_studio(home=disk)
    ids = _submit(studio, write(2), out=tmp_path / "out", seconds=2)
    _until(lambda: studio.job(LOCAL, ids[0]).state == "running")
    _fill(disk / "filler")
    with pytest.raises(Exception, match="free some disk space") as caught:
        _submit(studio, write(1))
    assert str(caught.value).startswith("The studio's database cannot be written (")
    said: list[str] = []
    _until(lambda: said.append(capfd.readouterr().err) or "waits to be recorded" in "".join(said))
    assert_sound(disk)
    (disk / "filler").unlink()
    jobs = studio.wait(LOCAL, ids)
    assert jobs[0].state == "failed"
    assert jobs[0].error is not None
    assert "free some" in jobs[0].error
    assert jobs[1].state == "done"
    assert_tidy(studio, jobs, tmp_path / "out")
    assert files_below(tmp_path / "out") == {"1.inverted.txt"}
