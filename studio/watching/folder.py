"""Which files of a folder are completely there.

Nothing is asked of the file system but names, sizes and times, so network folders do as well. A
file is taken once it has not changed for a while by our own clock: the clock of another machine,
which sets the times, may be wrong.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from studio.watching.ledger import State

# What programs call a file that they are still writing; those are also hidden, or end in "~".
_TEMPORARY = (
    ".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".!ut", ".swp",
    ".incomplete", ".opdownload", ".aria2", ".syncing", ".icloud",
)  # fmt: skip


class Folder:
    """The files of a folder and its folders that an engine reads."""

    def __init__(
        self,
        folder: Path,
        suffixes: Sequence[str],
        apart: Sequence[Path],
        settle: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch.

        Args:
            folder: where files come in.
            suffixes: of those that are meant, in lower case; empty means all.
            apart: folders whose files do not count, such as that of the results.
            settle: seconds without a change after which a file is complete.
            clock: seconds; only differences count.
        """
        self._folder = folder
        self._suffixes = tuple(suffixes)
        self._apart = {os.path.realpath(path) for path in apart}
        self._settle = settle
        self._clock = clock
        self._since: dict[Path, tuple[State, float]] = {}

    def look(self) -> tuple[dict[Path, State], int]:
        """The files that are complete, and how many are still coming in.

        Raises:
            OSError: the folder cannot be read now.
        """
        now = self._clock()
        found = self._files()
        self._since = {
            path: (state, self._since[path][1])
            if path in self._since and self._since[path][0] == state
            else (state, now)
            for path, state in found.items()
        }
        ready = {
            path: state
            for path, (state, since) in self._since.items()
            if state.bytes and now - since >= self._settle
        }
        return ready, sum(bool(state.bytes) for state in found.values()) - len(ready)

    def _files(self) -> dict[Path, State]:
        found: dict[Path, State] = {}
        for path in self._below(self._folder, first=True):
            try:
                found[path] = State.of(path)
            except OSError:  # it has just gone
                continue
        return dict(sorted(found.items(), key=lambda one: os.fsencode(one[0])))

    def _below(self, folder: Path, *, first: bool = False) -> list[Path]:
        if os.path.realpath(folder) in self._apart:
            return []
        try:
            entries = list(os.scandir(folder))
        except OSError:
            if first:
                raise
            return []
        found: list[Path] = []
        for entry in entries:
            path = folder / entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    found += self._below(path) if not entry.name.startswith(".") else []
                elif entry.is_file() and self._meant(entry.name):
                    found.append(path)
            except OSError:
                continue
        return found

    def _meant(self, name: str) -> bool:
        low = name.lower()
        if low.startswith((".", "~")) or low.endswith(("~", *_TEMPORARY)):
            return False
        return not self._suffixes or os.path.splitext(low)[1] in self._suffixes
