"""From an engine's workspace to where files stay, so that a crash at any point leaves no half.

A job's own folder appears by one rename. What goes to a folder of the person's, files and whole
folders alike, is staged in it under a temporary name, journaled in the database (`jobs.moving`),
and then gets its name by a link or a rename that cannot replace anything; only after the job is
recorded are the temporary names removed, and then the journal. Whatever the journal of a job that
is not done names is taken back at the next start.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from studio.jobs.task import FileFacts
from studio.workspace import (
    MARK,
    Move,
    free_name,
    remove,
    remove_tree,
    retract,
    reveal,
    safe_name,
    settle,
    stage,
    sync_file,
    sync_folder,
    sync_tree,
)


class Delivery:
    """One job's files on their way.

    Args:
        folder: outputs/<session>.
        job_id: names the job's own folder in it.
        out_dir: where the outputs go, or None for the job's own folder.
    """

    def __init__(self, folder: Path, job_id: str, out_dir: Path | None) -> None:
        # New for each attempt: what an earlier one left running could still write to its own.
        self.workspace = folder / f"{MARK}{job_id}-{secrets.token_hex(4)}"
        self.moves: list[Move] = []
        self._final = folder / job_id
        self._job_id = job_id
        self._out_dir = out_dir

    def prepare(self) -> None:
        """Make the empty workspace, and the folder that outputs go to."""
        self.workspace.mkdir(parents=True)
        if self._out_dir is not None:
            self._out_dir.mkdir(parents=True, exist_ok=True)

    def deliver(
        self,
        files: Sequence[FileFacts],
        journal: Callable[[Sequence[Move]], None],
        check: Callable[[], None] = lambda: None,
    ) -> list[tuple[FileFacts, Path]]:
        """Put every declared file in its place; what was not declared is dropped.

        Args:
            files: what the engine declared.
            journal: notes the moves so far before the last of them is made.
            check: called before the job's folder appears; what it raises keeps it from appearing.

        Raises:
            OSError: the disk is full, or the folder cannot be written; `abandon` then clears up.
        """
        declared = {file.name for file in files}
        for path in self.workspace.iterdir():
            if path.name not in declared:
                remove(path)
        placed: list[tuple[FileFacts, Path]] = []
        outside: list[tuple[FileFacts, Path]] = []
        for number, file in enumerate(files):
            path = self.workspace / file.name
            if self._out_dir is not None and file.role == "output":
                outside.append((file, stage(path, self._out_dir, f"{self._job_id}-{number}")))
                remove(path)
            else:
                sync_tree(path) if path.is_dir() else sync_file(path)
                placed.append((file, self._final / file.name))
        placed = self._name_outside(outside, journal) + placed
        sync_folder(self.workspace)
        check()
        remove_tree(self._final)
        os.rename(self.workspace, self._final)
        sync_folder(self._final.parent)
        return placed

    def _name_outside(
        self, outside: list[tuple[FileFacts, Path]], journal: Callable[[Sequence[Move]], None]
    ) -> list[tuple[FileFacts, Path]]:
        placed: list[tuple[FileFacts, Path]] = []
        taken: set[Path] = set()
        for file, staged in outside:
            while True:
                name, suffixed = safe_name(file.name), not staged.is_dir()
                final = free_name(staged.parent, name, taken, suffixed=suffixed)
                self.moves.append(Move(staged, final, file.sha256))
                journal(self.moves)
                if reveal(self.moves[-1]):
                    break
                self.moves.pop()
            taken.add(final)
            placed.append((file, final))
        return placed

    def settle(self) -> None:
        """After the job was recorded: only the final names stay."""
        for move in self.moves:
            settle(move)

    def abandon(self) -> None:
        """The job did not end well: nothing of it stays."""
        for move in self.moves:
            retract(move)
        if self._out_dir is not None:
            remove_staged(self._out_dir, self._job_id)
        remove_tree(self.workspace)
        remove_tree(self._final)

    def forget(self) -> None:
        """Another studio does the job now, and what it makes is left alone."""
        remove_tree(self.workspace)


def remove_staged(folder: Path, job_id: str) -> None:
    """Remove the temporary names that a job has in a folder of the person's."""
    for leftover in folder.glob(f"{MARK}{job_id}-*"):
        remove(leftover)
