"""`watch`: whatever comes into a folder goes through an engine or a recipe, once, when it is there.

Ctrl-C and SIGTERM end it cleanly: what runs is interrupted and, like what waits, goes on with the
next start of the watch or of the studio.
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
from pathlib import Path
from types import FrameType

from engines.base import UserError, takes_together
from studio.commands import output, settings
from studio.commands.work import RECIPE, Work, outcome, work_of
from studio.config import LOCAL
from studio.jobs.service import Studio
from studio.watching.folder import Folder
from studio.watching.ledger import Ledger
from studio.watching.watch import Told, Watch


def watch(args: argparse.Namespace) -> int:
    """Watch until a signal comes; 1 if `--once` was given and something failed.

    Raises:
        UserError: a folder or the work cannot be used.
    """
    folder, out = args.folder.absolute(), args.out.absolute()
    if not folder.is_dir():
        raise UserError(f"There is no such folder to watch: {args.folder}")
    if out.exists() and not out.is_dir():
        raise UserError(f"Results go to a folder, and this is a file: {args.out}")
    if out == folder:
        raise UserError("Results need another folder than the one that is watched")
    what = f"{RECIPE}{args.recipe}" if args.recipe else args.engine
    studio = Studio(settings.load(args))
    work = work_of(args, studio, what)
    if takes_together(work.first) or "model" in work.first.accepts:
        raise UserError(f"{work.first.title} does not take one file at a time; use `run`")
    ledger = Ledger(studio.factory, folder, out, what)
    if args.again:
        ledger.forget()
    with _Stopped() as stopped:
        return _run(args, studio, work, ledger, folder, out, stopped)


def _run(
    args: argparse.Namespace,
    studio: Studio,
    work: Work,
    ledger: Ledger,
    folder: Path,
    out: Path,
    stopped: _Stopped,
) -> int:
    told = _Teller(out, args.out)
    try:
        studio.start()
        files = Folder(
            folder, work.first.suffixes, (out, studio.settings.home), max(args.settle, 0.0)
        )
        session = _session(studio, f"Watched: {folder.name}")
        one = Watch(studio, session, work, ledger, files, folder, out, told, stopped.event.is_set)
        print(f"Watching {args.folder} for {work.label}; results go to {args.out}, Ctrl-C stops")
        if one.before:
            print(f"{one.before} files were done before")
        if not studio.is_runner:
            output.say("Another studio is open here and does the work")
        while not stopped.event.is_set():
            begun = time.monotonic()
            under_way = one.look()
            if args.once and not under_way:
                break
            # A large folder far away takes a while to look at, and must not be kept busy by it.
            stopped.event.wait(max(args.every, 4 * (time.monotonic() - begun)))
    finally:
        studio.stop()
    left = f", {one.waiting} go on at the next start" if one.waiting else ""
    print(f"{'Stopped' if stopped.event.is_set() else 'Ended'}: {told.summary}{left}", flush=True)
    return 1 if args.once and told.failed else 0


def _session(studio: Studio, name: str) -> str:
    """Id of the session of that name, which is made where there is none."""
    known = [view for view in studio.sessions(LOCAL) if view.name == name]
    return (known[0] if known else studio.new_session(LOCAL, name)).id


class _Teller:
    """A line for each file that has ended."""

    def __init__(self, out: Path, given: Path) -> None:
        self._out, self._given = out, given
        self.done = self.failed = 0

    @property
    def summary(self) -> str:
        """What was done so far."""
        return f"{self.done} done" + (f", {self.failed} failed" if self.failed else "")

    def __call__(self, told: Told) -> None:
        """Say it: what went well on standard output, the rest on standard error."""
        name = output.one_line(told.name)
        if not told.jobs:
            output.say(f"{name} {told.text}")
            return
        view = outcome(told.jobs)
        if view.state != "done":
            self.failed += view.state == "failed"
            output.say(f"{name}: {view.error or view.state}")
            return
        self.done += 1
        seconds = sum(job.seconds or 0.0 for job in told.jobs)
        names = ", ".join(output.one_line(str(self._as_given(file.path))) for file in view.outputs)
        print(f"{name}: {seconds:.1f} s -> {names}", flush=True)

    def _as_given(self, path: Path) -> Path:
        return self._given / path.relative_to(self._out) if path.is_relative_to(self._out) else path


class _Stopped:
    """Set by Ctrl-C and SIGTERM."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._before: dict[int, signal.Handlers | object] = {}

    def __enter__(self) -> _Stopped:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *details: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.event.set()
