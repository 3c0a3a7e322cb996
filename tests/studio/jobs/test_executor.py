"""The worker process: what it does, how it dies, and that it dies with the studio."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engines import registry
from studio.jobs.executor import InlineExecutor, WorkerExecutor
from studio.jobs.task import Outcome, Progress, Task
from tests.studio.jobs.conftest import Write

BIG, CRASH, INVERT, STUCK = "demo.big", "demo.crash", "demo.invert", "demo.stuck"
PROMISED = 3.0  # seconds within which a cancelled job has stopped, whatever it does
KILLED = (
    "The worker was ended by the system, most likely for want of memory; "
    "choose a smaller tile, or close other programs, and run it again"
)


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerExecutor]:
    """One for all tests: whatever a test does to its process, the next one's task is done."""
    executor = WorkerExecutor()
    yield executor
    executor.close()


@pytest.fixture
def own_worker() -> Iterator[WorkerExecutor]:
    """One whose process is started within the test."""
    executor = WorkerExecutor()
    yield executor
    executor.close()


@pytest.fixture
def make_task(tmp_path: Path, write: Write) -> Callable[..., Task]:
    """A task for a demo engine, with a workspace of its own."""
    numbers = iter(range(100))

    def make(engine: str, **params: Any) -> Task:
        workspace = tmp_path / f"workspace-{next(numbers)}"
        workspace.mkdir()
        return Task(
            job_id=workspace.name, engine=engine, engines=registry.added(), device="cpu", seed=1,
            inputs=tuple(str(path) for path in write(1)), params=params,
            workspace=str(workspace), logs=str(tmp_path / "logs"),
        )  # fmt: skip

    return make


def _run(
    executor: WorkerExecutor | InlineExecutor,
    task: Task,
    report: Callable[[Progress], None] = lambda progress: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Outcome:
    return executor.run(task, report, cancelled)


def _pid(executor: WorkerExecutor) -> int:
    return executor._process.pid


def test_a_worker_does_one_task_after_another(
    worker: WorkerExecutor, make_task: Callable[..., Task]
) -> None:
    seen: list[Progress] = []
    first = _run(worker, make_task(INVERT, seconds=0.5), seen.append)
    pid = _pid(worker)
    second = _run(worker, make_task(INVERT, fail="user"))
    third = _run(worker, make_task(INVERT))
    assert [one.state for one in (first, second, third)] == ["done", "failed", "done"]
    assert pid == _pid(worker) != os.getpid()
    assert first.device == "cpu"
    assert first.seconds >= 0.5
    assert {"noise-studio", "python", "torch"} <= set(first.versions)
    assert [step.text for step in seen] == [*sorted(step.text for step in seen[:-1]), "writing"]
    assert len(seen) >= 3


def test_what_a_worker_says_of_one_task_is_never_heard_as_the_next_ones(
    worker: WorkerExecutor, make_task: Callable[..., Task]
) -> None:
    class Full(Exception):
        pass

    def report(progress: Progress) -> None:
        raise Full

    with pytest.raises(Full):
        _run(worker, make_task(INVERT, seconds=0.3), report)
    task = make_task(BIG)
    outcome = _run(worker, task)
    assert outcome.files[0].name == "0.0.bin"
    assert (Path(task.workspace) / "0.0.bin").is_file()


@pytest.mark.parametrize("how", ["engine", "outside", "system"])
def test_a_worker_that_dies_is_a_sentence_and_is_replaced(
    worker: WorkerExecutor, make_task: Callable[..., Task], how: str
) -> None:
    if how == "engine":
        outcome = _run(worker, make_task(CRASH))
    elif how == "outside":
        outcome = _run(
            worker, make_task(INVERT, seconds=30), lambda _: os.kill(_pid(worker), signal.SIGKILL)
        )
    else:
        outcome = _run(
            worker, make_task(INVERT, seconds=30), lambda _: os.kill(_pid(worker), signal.SIGSEGV)
        )
    code = "The worker stopped in the middle of this file (code -11)"
    assert outcome.state == "failed"
    assert outcome.error is not None
    assert outcome.error.startswith(code if how == "system" else KILLED)
    assert _run(worker, make_task(INVERT)).state == "done"


def test_a_worker_that_leaves_is_a_sentence(
    worker: WorkerExecutor, make_task: Callable[..., Task]
) -> None:
    outcome = _run(worker, make_task(STUCK, how="exit"))
    assert outcome.error == (
        "The worker stopped in the middle of this file (code 3); run it again, "
        "and if it stops again this file cannot be read"
    )


def test_a_worker_that_died_while_nothing_was_to_do_is_replaced(
    worker: WorkerExecutor, make_task: Callable[..., Task]
) -> None:
    _run(worker, make_task(INVERT))
    os.kill(_pid(worker), signal.SIGKILL)
    worker._process.join()
    assert _run(worker, make_task(INVERT)).state == "done"


@pytest.mark.parametrize(
    ("engine", "params", "same"),
    [
        (INVERT, {"seconds": 60.0}, True),
        (STUCK, {"how": "sleep"}, False),
        (STUCK, {"how": "hold"}, False),
    ],
)
def test_cancel_stops_what_answers_and_what_does_not(
    worker: WorkerExecutor,
    make_task: Callable[..., Task],
    engine: str,
    params: dict[str, Any],
    same: bool,
) -> None:
    asked: list[float] = []
    begun: list[int] = []

    def report(progress: Progress) -> None:
        begun.append(_pid(worker))

    def cancelled() -> bool:
        if begun:
            asked.append(time.monotonic())
        return bool(begun)

    outcome = _run(worker, make_task(engine, **params), report, cancelled)
    assert outcome.state == "cancelled"
    assert time.monotonic() - asked[0] < PROMISED
    assert psutil.pid_exists(begun[0]) is same  # one that answers is kept with its loaded models
    assert _run(worker, make_task(INVERT)).state == "done"  # and nothing of it is left over


def test_memory_is_measured_for_each_job_alone(
    worker: WorkerExecutor, make_task: Callable[..., Task]
) -> None:
    small, large, again = (
        _run(worker, make_task(BIG, hold_mb=hold)).peak_mb for hold in (0, 300, 0)
    )
    assert small is not None
    assert large is not None
    assert again is not None
    assert 280 < large - small < 400
    assert abs(again - small) < 100


def test_a_file_that_the_disk_does_not_take_is_a_sentence(
    own_worker: WorkerExecutor, make_task: Callable[..., Task]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        own_worker.warm_up()  # it has the limit from us
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    outcome = _run(own_worker, make_task(BIG, kilobytes=2000))
    assert outcome.error == "The disk takes no file of this size; choose a folder on another one"
    assert _run(own_worker, make_task(BIG, kilobytes=500)).state == "done"


def test_nothing_that_an_engine_prints_gets_into_standard_output(
    own_worker: WorkerExecutor, make_task: Callable[..., Task], capfd: pytest.CaptureFixture[str]
) -> None:
    _run(own_worker, make_task("demo.loud"))
    out, err = capfd.readouterr()
    assert out == ""
    assert "printed" in err
    assert "demo.loud: logged" in err


PARENT = """
import sys
from studio.jobs.executor import WorkerExecutor
from studio.jobs.task import Task
if __name__ == "__main__":
    engines = {"demo.stuck": "tests.studio.jobs.engines:StuckEngine"}
    task = Task("job", "demo.stuck", engines, (sys.argv[1],), {"how": sys.argv[2]}, "cpu", 1,
                sys.argv[3], sys.argv[3])
    WorkerExecutor().run(task, lambda progress: print("stuck", flush=True), lambda: False)
"""
# Elsewhere than on Linux a worker that holds the interpreter ends when it lets go of it.
HELD = ("sleep", "hold") if sys.platform == "linux" else ("sleep",)


@pytest.mark.parametrize("how", HELD)
def test_a_worker_dies_with_a_studio_that_is_killed(tmp_path: Path, write: Write, how: str) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "workspace").mkdir()
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "parent.py", write(1)[0], how, tmp_path / "workspace"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"stuck\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert children
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


def test_an_inline_executor_does_the_same_in_this_process(make_task: Callable[..., Task]) -> None:
    executor = InlineExecutor()
    executor.warm_up()
    seen: list[Progress] = []
    assert _run(executor, make_task(INVERT, seconds=0.3), seen.append).state == "done"
    assert seen
    assert (
        _run(executor, make_task(INVERT, seconds=30), cancelled=lambda: True).state == "cancelled"
    )
    executor.close()
    assert _run(executor, make_task(INVERT, seconds=30)).state == "cancelled"
