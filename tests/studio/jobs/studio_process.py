"""A studio in a process of its own, that can be killed: `python -m ... '{"home": ...}'`.

It queues the inputs (or goes on with them), waits until all have ended, and stops in good order.
Without a plan it reads them from standard input, one a line, and does each in a process that it
forks, which is killed as well as another and need not import everything anew.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Plan:
    """What the studio does.

    Attributes:
        home: its folder.
        out: where outputs go.
        inputs: files to process as one batch; none if there is nothing to queue.
        engine: id.
        params: of the engine.
        executor: see `Settings`.
        links: False plays a file system that knows no hard links.
        die: ("module:Class.method", "before" or "after", n): killed at the n-th call of that.
    """

    home: str
    out: str
    inputs: Sequence[str] = ()
    engine: str = "demo.big"
    params: dict[str, Any] | None = None
    executor: Literal["inline", "worker"] = "inline"
    links: bool = True
    die: tuple[str, str, int] | None = None


def start(plan: Plan) -> subprocess.Popen[str]:
    """Run a plan in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", __name__, _line(plan)], cwd=ROOT, text=True)


class Nursery:
    """Runs plans with the inline executor, one after another."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, plan: Plan) -> int:
        """Do a plan; returns the exit code, below zero for a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(_line(plan), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process that forks."""
        self._process.communicate()


def _line(plan: Plan) -> str:
    return json.dumps(asdict(plan))


def _serve() -> None:
    import_module("torch")
    import_module("studio.jobs.service")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            main(Plan(**json.loads(line)))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, flush=True)  # noqa: T201


def _die_at(target: str, when: str, number: int) -> None:
    owner, _, name = target.rpartition("." if "." in target.partition(":")[2] else ":")
    holder = resolve_name(owner)
    real = getattr(holder, name)
    calls = 0

    def deadly(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        mine = calls == number
        if mine and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **named)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(holder, name, deadly)


def _no_links() -> None:
    def link(source: object, target: object) -> None:
        if os.path.lexists(str(target)):
            raise FileExistsError
        raise PermissionError(errno.EPERM, "Operation not permitted")

    os.link = link  # type: ignore[assignment]


def main(plan: Plan) -> None:
    """See the module's text."""
    from studio.config import LOCAL, Settings
    from studio.jobs.service import Studio
    from tests import engines_for_tests
    from tests.studio.jobs import engines

    engines_for_tests.register()
    engines.register()
    if not plan.links:
        _no_links()
    if plan.die is not None:
        _die_at(*plan.die)
    studio = Studio(Settings(
        home=Path(plan.home), executor=plan.executor, device="cpu",
        database_url=os.environ.get("STUDIO_DATABASE_URL", ""),
    ))  # fmt: skip
    if plan.inputs:
        studio.submit_batch(
            LOCAL, studio.open_session(LOCAL).id, plan.engine, [Path(i) for i in plan.inputs],
            plan.params or {}, out_dir=Path(plan.out),
        )  # fmt: skip
    studio.start()
    ids = [job.id for job in studio.jobs(LOCAL, limit=10_000, newest_first=False)]
    studio.wait(LOCAL, ids, poll=0.02)
    studio.stop()


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Plan(**json.loads(sys.argv[1])))
    else:
        _serve()
