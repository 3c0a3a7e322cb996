"""Work that was left unfinished: folders in the cache, each with the marks of its jobs.

Several jobs may go on with the same work, one after the other; it goes when the last of them does.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from studio.jobs.task import RESUMABLE
from studio.workspace import remove, remove_tree

_MARK = ".job-"  # and the id of a job that asked for the folder


def claim(folder: Path, job_id: str) -> None:
    """Mark a folder of unfinished work as a job's."""
    (folder / f"{_MARK}{job_id}").touch()


def forget(cache: Path, jobs: Collection[str]) -> None:
    """Remove what jobs that are gone have left, unless others go on with it.

    Args:
        cache: the studio's folder of what can be made again.
        jobs: their ids.
    """
    for folder in (cache / RESUMABLE).glob("*"):
        marks = {mark.name.removeprefix(_MARK): mark for mark in folder.glob(f"{_MARK}*")}
        if marks and marks.keys() <= set(jobs):
            remove_tree(folder)
        else:
            for job_id in marks.keys() & set(jobs):
                remove(marks[job_id])
