"""What a start makes true again after a crash: files first, then rows."""

from __future__ import annotations

from pathlib import Path

from studio.jobs.store import Store
from studio.workspace import MARK, remove_tree, retract


def recover(store: Store, outputs: Path, uploads: Path) -> None:
    """Clear what unfinished jobs left, remove folders without a row, queue the jobs again.

    Only the process that holds the runner's lock may call this.
    """
    for job in store.unfinished():
        for staged, final in job.moving:
            retract(staged, final)
            for leftover in staged.parent.glob(f"{MARK}{job.id}-*"):
                leftover.unlink(missing_ok=True)
        remove_tree(outputs / job.session_id / job.id)
    done = store.known_jobs()
    for folder in outputs.glob("*/*"):
        if (folder.parent.name, folder.name) not in done:
            remove_tree(folder)
    for session in outputs.glob("*"):
        if session.is_dir() and not any(session.iterdir()):
            session.rmdir()
    known = {Path(path).parent for path in store.known_paths(uploads)}
    for folder in uploads.glob("*/*"):
        if folder not in known:
            remove_tree(folder)
    store.requeue_unfinished()
