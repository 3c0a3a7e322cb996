"""Looks at chosen files in a process of its own and remembers what it saw.

A damaged file can end the library that opens it; then this process is replaced and the file gets a
sentence, and the page never notices. Looking at a folder of large files takes a while, so `look`
answers at once and knows more the next time.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from engines.base import UserError
from studio.folders import MODEL_NAMES

Read = Callable[[Path], "Sequence[str] | Look"]
_Key = tuple[str, int, int]

_KEPT = 5000  # files
_PATIENCE = 30.0  # seconds for one file
_LOOK_EVERY = 0.02
_FIRST = 90.0  # more for a process's first one: it loads its libraries


@dataclass(frozen=True)
class Look:
    """What is known of a file: a few facts, or why it cannot be used; neither while it is read.

    `more` is what a tab wants to know besides, in values that go from process to process.
    """

    facts: tuple[str, ...] = ()
    problem: str = ""
    pending: bool = False
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])


class FileReader:
    """Reads files one after another with `read`, a function of a module (it goes to a process)."""

    def __init__(self, read: Read, *, kept: int = _KEPT) -> None:
        """Keep what is known of the last `kept` files."""
        self._read = read
        self._kept = kept
        self._known: OrderedDict[_Key, Look] = OrderedDict()
        self._wanted: SimpleQueue[tuple[_Key, Path]] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def look(self, path: Path) -> Look:
        """What is known now; a file that changed on the disk is read anew."""
        try:
            facts = path.stat()
            if path.is_dir():  # a model is told by its config
                configs = [path / name for name in MODEL_NAMES if (path / name).is_file()]
                facts = configs[0].stat() if configs else facts
        except OSError:
            return Look(problem=f"{path.name} is no longer there; remove it from the list")
        key = (str(path), facts.st_size, facts.st_mtime_ns)
        with self._lock:
            if key not in self._known:
                self._known[key] = Look(pending=True)
                self._wanted.put((key, path))
                if len(self._known) > self._kept:
                    self._known.popitem(last=False)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
                self._thread.start()
            return self._known[key]

    def wait(self, path: Path) -> Look:
        """What is known once the file has been read."""
        while (found := self.look(path)).pending:
            time.sleep(_LOOK_EVERY)
        return found

    def _run(self) -> None:
        process = _Process(self._read)
        while True:
            key, path = self._wanted.get()
            found = process.read(path)
            with self._lock:
                self._known[key] = found


class _Process:
    """The process, started when it is first needed and replaced when it is gone."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Any = None
        self._first = True

    def read(self, path: Path) -> Look:
        process = self._process
        if process is None or not process.is_alive():
            process = self._start()
        try:
            self._pipe.send(path)
            if self._pipe.poll(_PATIENCE + (_FIRST if self._first else 0.0)):
                self._first = False
                return self._pipe.recv()
        except (EOFError, OSError):
            pass
        process.kill()
        process.join(timeout=5)
        return Look(problem=f"{path.name} cannot be read; copy it again, or remove it")

    def _start(self) -> Any:
        self._first = True
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(theirs, self._read, list(sys.path)), daemon=True,
            name="noise-studio-reader",
        )  # fmt: skip
        self._process.start()
        theirs.close()
        return self._process


def _serve(pipe: Connection, read: Read, path: list[str]) -> None:
    sys.path[:] = path
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the studio, which then ends this
    parent = multiprocessing.parent_process()

    def die_with_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=die_with_parent, daemon=True).start()
    while True:
        try:
            file = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            read_of = read(file)
            found = read_of if isinstance(read_of, Look) else Look(facts=tuple(read_of))
        except UserError as error:
            found = Look(problem=str(error))
        except Exception as error:
            found = Look(problem=f"{file.name} cannot be read ({type(error).__name__}); remove it")
        pipe.send(found)
