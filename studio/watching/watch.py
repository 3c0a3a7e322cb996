"""The watch itself: what is complete and new is queued, and what has ended is told."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engines.base import UserError
from studio.config import LOCAL
from studio.jobs.service import Studio
from studio.jobs.views import JobView, NotFound
from studio.watching.folder import Folder
from studio.watching.ledger import Entry, Ledger, State
from studio.workspace import printable

_AT_ONCE = 500  # ids in one question to the database
_ROOM = 50  # jobs that somebody else may want to queue meanwhile
_PIECE = 1 << 20  # bytes


class Queue(Protocol):
    """What is done with a file."""

    def submit_one(self, session: str, path: Path, out: Path, batch: str) -> list[str]:
        """Queue it under that batch; ids of its jobs, in order."""
        ...


@dataclass(frozen=True)
class Told:
    """What the watch has to say of one file: of its jobs, or a sentence."""

    name: str
    jobs: Sequence[JobView] = ()
    text: str = ""


@dataclass(frozen=True)
class _Open:
    entry: Entry
    ids: Sequence[str]


class Watch:
    """Looks at a folder whenever it is told to."""

    def __init__(
        self,
        studio: Studio,
        session: str,
        queue: Queue,
        ledger: Ledger,
        files: Folder,
        folder: Path,
        out: Path,
        tell: Callable[[Told], None],
        stopped: Callable[[], bool],
    ) -> None:
        """Take up what an earlier watch of the same began.

        Args:
            studio: that does the jobs.
            session: that they go to.
            queue: what is done with each file.
            ledger: what was taken before.
            files: what is there now.
            folder: that is watched.
            out: where results go; folders in `folder` have theirs in it.
            tell: gets each file that has ended, or has something wrong.
            stopped: whether to stop in the middle of reading a file.
        """
        self._studio, self._session, self._queue = studio, session, queue
        self._ledger, self._files, self._folder, self._out = ledger, files, folder, out
        self._tell, self._stopped = tell, stopped
        self._known: dict[Path, State] = {}
        self._content: dict[str, Path] = {}
        self._open: dict[str, _Open] = {}
        self._unreadable: dict[Path, State] = {}
        self._absent = False
        for entry in ledger.entries():
            self._remember(entry)
            if not entry.ended:
                self._open[entry.id] = _Open(entry, ledger.jobs(entry.batch))
        self.before = len(self._content) - len(self._open)
        for one in list(self._open.values()):
            if not one.ids:  # the studio was ended just before it was queued
                self._forget(one.entry)

    @property
    def waiting(self) -> int:
        """Files that are queued or run."""
        return len(self._open)

    def look(self) -> bool:
        """Queue what is new, tell what has ended; False while there is nothing under way."""
        try:
            ready, coming = self._files.look()
            self._absent = False
        except OSError as error:
            ready, coming = {}, 1
            if not self._absent:
                reason = error.strerror or str(error)
                self._tell(Told(str(self._folder), text=f"cannot be read now ({reason}); waiting"))
            self._absent = True
        for path, state in ready.items():
            if self._stopped() or self._full():
                break
            if state not in (self._known.get(path), self._unreadable.get(path)):
                self._take(path, state)
        self._end()
        return bool(coming or self._open)

    def _take(self, path: Path, state: State) -> None:
        try:
            sha256 = self._hash(path)
            if sha256 is None or State.of(path) != state:  # it goes on growing
                return
        except FileNotFoundError:
            return
        except OSError as error:
            self._unreadable[path] = state
            self._tell(Told(self._named(path), text=f"cannot be read ({error.strerror})"))
            return
        same = self._content.get(sha256)
        if same is not None:
            self._remember(self._ledger.add(path, state, sha256, ""))
            if same != path:
                text = f"is the same as {self._named(same)} and is not done again"
                self._tell(Told(self._named(path), text=text))
            return
        entry = self._ledger.add(path, state, sha256, f"watch-{secrets.token_hex(16)}")
        try:
            out = self._out / path.parent.relative_to(self._folder)
            ids = self._queue.submit_one(self._session, path, out, entry.batch)
        except UserError as error:
            self._ledger.remove(entry)
            self._unreadable[path] = state
            self._tell(Told(self._named(path), text=f"could not be queued: {error}"))
            return
        self._remember(entry)
        self._open[entry.id] = _Open(entry, ids)

    def _full(self) -> bool:
        """Whether the queue takes no more for now; what is left is taken at a later look."""
        room = self._studio.settings.max_waiting_jobs - _ROOM
        return bool(self._open) and self._studio.store.waiting(LOCAL) > room

    def _hash(self, path: Path) -> str | None:
        """SHA-256 of a file; None if the watch is to stop."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                if self._stopped():
                    return None
                digest.update(piece)
        return digest.hexdigest()

    def _end(self) -> None:
        """Tell what has ended since the last look."""
        ids = [one for open_one in self._open.values() for one in open_one.ids]
        marks: dict[str, tuple[str, float]] = {}
        for start in range(0, len(ids), _AT_ONCE):
            marks |= self._studio.store.marks(LOCAL, ids[start : start + _AT_ONCE])
        for open_one in list(self._open.values()):
            states = {marks[one][0] for one in open_one.ids if one in marks}
            if states <= {"done", "failed", "cancelled"}:  # or all were deleted
                jobs: list[JobView] = []
                for one in open_one.ids:
                    with suppress(NotFound):
                        jobs.append(self._studio.job(LOCAL, one))
                self._ledger.end(open_one.entry)
                del self._open[open_one.entry.id]
                text = "" if jobs else "was deleted before it was done"
                self._tell(Told(self._named(open_one.entry.path), jobs, text))

    def _remember(self, entry: Entry) -> None:
        self._known[entry.path] = entry.state
        self._content.setdefault(entry.sha256, entry.path)

    def _forget(self, entry: Entry) -> None:
        self._ledger.remove(entry)
        del self._open[entry.id]
        self._known.pop(entry.path, None)
        self._content.pop(entry.sha256, None)

    def _named(self, path: Path) -> str:
        try:
            return printable(os.fspath(path.relative_to(self._folder)))
        except ValueError:
            return printable(path.name)
