"""From an engine's workspace to where files stay, so that a crash at any point leaves no half.

A job's own folder appears by one rename. Files that go to a folder of the person's are staged in it
under a temporary name, journaled in the database, and then get their name by a link that cannot
replace anything; only after the job is recorded are the staged names removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from studio.jobs.task import FileFacts
from studio.workspace import (
    MARK,
    free_name,
    remove_tree,
    retract,
    reveal,
    safe_name,
    stage,
    sync_file,
    sync_folder,
)

Moves = list[tuple[Path, Path]]


class Delivery:
    """One job's files on their way.

    Args:
        folder: outputs/<session>.
        job_id: names the job's own folder in it.
        out_dir: where the outputs go, or None for the job's own folder.
    """

    def __init__(self, folder: Path, job_id: str, out_dir: Path | None) -> None:
        self.workspace = folder / f"{MARK}{job_id}"
        self._final = folder / job_id
        self._job_id = job_id
        self._out_dir = out_dir
        self._moves: Moves = []

    def prepare(self) -> None:
        """Make the empty workspace, and the folder that outputs go to."""
        remove_tree(self.workspace)
        self.workspace.mkdir(parents=True)
        if self._out_dir is not None:
            self._out_dir.mkdir(parents=True, exist_ok=True)

    def deliver(
        self, files: Sequence[FileFacts], journal: Callable[[Moves], None]
    ) -> list[tuple[FileFacts, Path]]:
        """Put every declared file in its place; what was not declared is dropped.

        Raises:
            OSError: the disk is full, or the folder cannot be written; `abandon` then clears up.
        """
        declared = {file.name for file in files}
        for path in self.workspace.iterdir():
            if path.name not in declared:
                remove_tree(path) if path.is_dir() else path.unlink()
        placed: list[tuple[FileFacts, Path]] = []
        outside: list[tuple[FileFacts, Path]] = []
        for number, file in enumerate(files):
            path = self.workspace / file.name
            if self._out_dir is not None and file.role == "output":
                outside.append((file, stage(path, self._out_dir, f"{self._job_id}-{number}")))
                path.unlink()
            else:
                sync_file(path)
                placed.append((file, self._final / file.name))
        placed = self._name_outside(outside, journal) + placed
        sync_folder(self.workspace)
        remove_tree(self._final)
        os.rename(self.workspace, self._final)
        sync_folder(self._final.parent)
        return placed

    def _name_outside(
        self, outside: list[tuple[FileFacts, Path]], journal: Callable[[Moves], None]
    ) -> list[tuple[FileFacts, Path]]:
        placed: list[tuple[FileFacts, Path]] = []
        taken: set[Path] = set()
        for file, staged in outside:
            while True:
                final = free_name(staged.parent, safe_name(file.name), taken)
                self._moves.append((staged, final))
                journal(self._moves)
                if reveal(staged, final):
                    break
                self._moves.pop()
            taken.add(final)
            placed.append((file, final))
        return placed

    def settle(self) -> None:
        """After the job was recorded: only the final names stay."""
        for staged, _ in self._moves:
            staged.unlink(missing_ok=True)

    def abandon(self) -> None:
        """The job did not end well: nothing of it stays."""
        for staged, final in self._moves:
            retract(staged, final)
        if self._out_dir is not None and self._out_dir.is_dir():
            for leftover in self._out_dir.glob(f"{MARK}{self._job_id}-*"):
                leftover.unlink(missing_ok=True)
        remove_tree(self.workspace)
        remove_tree(self._final)
