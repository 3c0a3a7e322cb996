"""What a start makes true again after a crash: files first, then rows."""

from __future__ import annotations

import sys

from studio.config import Settings
from studio.inbox import Inbox
from studio.jobs.delivery import remove_staged
from studio.jobs.store import Store
from studio.jobs.store_runner import Leftover
from studio.jobs.task import RESUMABLE, UNFINISHED_KEPT
from studio.workspace import remove_old, remove_tree, retract, settle, uploads_lock


def recover(store: Store, settings: Settings, *, alone: bool) -> None:
    """Clear what unfinished jobs left, remove files without a row, queue the jobs again.

    Only the process that holds the runner's lock may call this; `alone` is no other on this home
    can have a page open, whose visitors' uploads are on their way.
    """
    if alone:
        remove_tree(settings.temporary)
        store.forget_aside()
    remove_old(settings.cache / RESUMABLE, UNFINISHED_KEPT)
    for job in store.leftovers():
        try:
            _clear(job)
        except OSError as error:  # a disk that is not plugged in must not keep the studio shut
            sys.stderr.write(f"{job.out_dir} could not be cleared: {error}\n")
            continue
        store.settled(job.id)
    done = store.known_jobs()
    for folder in settings.outputs.glob("*/*"):
        if (folder.parent.name, folder.name) not in done:
            remove_tree(folder)
    for session in settings.outputs.glob("*"):
        if session.is_dir() and not any(session.iterdir()):
            session.rmdir()
    with uploads_lock(settings.uploads):
        sessions = store.known_sessions()
        used = {path.parent for path in store.input_paths()}
        for folder in settings.uploads.glob("*"):
            if folder.name not in sessions:
                remove_tree(folder)
        Inbox(settings.uploads).sweep(used)
    store.requeue_unfinished()


def _clear(job: Leftover) -> None:
    for move in job.moving:
        settle(move) if job.done else retract(move)
    if job.out_dir is not None:
        remove_staged(job.out_dir, job.id)
