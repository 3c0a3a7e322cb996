"""A batch on a real Dask cluster of two worker processes, one of which is killed in the middle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from engines.base import UserError
from studio.config import Settings
from studio.jobs.cluster import DaskExecutor
from studio.jobs.service import Studio
from tests.studio.jobs.conftest import LOCAL, Write, assert_tidy, files_below, session_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore"),  # Dask's own
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as made:  # fmt: skip
        yield made


@pytest.fixture
def studio(settings: Settings, cluster: Any) -> Iterator[Studio]:
    address = cluster.scheduler_address.replace("tcp://", "dask://")
    studio = Studio(replace(settings, executor=address))
    studio.start()
    yield studio
    studio.stop()


def _submit(studio: Studio, paths: list[Path], out: Path | None = None, **given: Any) -> list[str]:
    engine = given.pop("engine", "demo.invert")
    items = [[path] for path in paths]
    return studio.submit(LOCAL, session_of(studio), engine, items, given, out_dir=out)


def _until(true: Callable[[], bool], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "this was waited for in vain"
        time.sleep(0.02)


def test_every_file_is_done_once_though_a_worker_is_killed(
    studio: Studio, cluster: Any, write: Write, tmp_path: Path
) -> None:
    inputs = write(8)
    ids = _submit(studio, inputs, tmp_path / "out", seconds=1.0)
    _until(lambda: len(studio.jobs(LOCAL, states=("running",))) == 2)
    assert all(job.attempts == 1 for job in _rows(studio, "running"))
    _until(lambda: any(job.done > 0 for job in studio.jobs(LOCAL, states=("running",))))
    victim = next(iter(cluster.workers.values()))
    psutil.Process(victim.process.pid).kill()  # its nanny starts another one
    jobs = studio.wait(LOCAL, ids)
    assert [job.error for job in jobs] == [None] * 8
    assert [job.state for job in jobs] == ["done"] * 8
    assert files_below(tmp_path / "out") == {f"{n}.inverted.txt" for n in range(8)}
    for path in inputs:
        made = (tmp_path / "out" / f"{path.stem}.inverted.txt").read_text()
        assert made == path.read_text()[::-1]
    assert_tidy(studio, jobs, tmp_path / "out")


def _rows(studio: Studio, state: str) -> list[Any]:
    from sqlalchemy import select

    from db.schema import JobRow

    with studio.store._factory() as session:
        return list(session.scalars(select(JobRow).where(JobRow.state == state)))


def test_folders_come_back_and_a_cancelled_job_stops(studio: Studio, write: Write) -> None:
    tree, long, bad = (
        *_submit(studio, write(1), engine="demo.tree", times=2),
        *_submit(studio, write(1), seconds=60),
        *_submit(studio, write(1), fail="user"),
    )
    _until(lambda: studio.job(LOCAL, long).done > 0)
    studio.cancel(LOCAL, long)
    jobs = studio.wait(LOCAL, [tree, long, bad])
    assert [job.state for job in jobs] == ["done", "cancelled", "failed"]
    assert jobs[2].error == "It went wrong as you asked; set fail to no"
    assert sum(file.folder for file in jobs[0].outputs) == 2
    assert_tidy(studio, jobs)


def test_a_cluster_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.jobs.cluster._CONNECT_WITHIN", 0.5)
    with pytest.raises(UserError, match=r"^No Dask scheduler answers at 127.0.0.1:9; check"):
        DaskExecutor("dask://127.0.0.1:9")
