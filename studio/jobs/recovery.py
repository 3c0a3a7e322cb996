"""What is made true again after a crash: files first, then rows."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from studio.config import Settings
from studio.inbox import Inbox
from studio.jobs.delivery import remove_staged
from studio.jobs.store import Store
from studio.jobs.store_runner import Leftover
from studio.jobs.task import RESUMABLE, UNFINISHED_KEPT
from studio.workspace import MARK, remove_old, remove_tree, retract, settle, uploads_lock

_TEMPORARY_KEPT = 24 * 3600.0  # seconds, where other studios may be using them


def recover(store: Store, settings: Settings, *, alone: bool) -> None:
    """Clear what unfinished jobs left, remove files without a row, queue the jobs again.

    Only the process that holds the runner's lock may call this; `alone` is no other on this home
    can have a page open, whose visitors' uploads are on their way. Where other machines' studios
    do jobs as well, those that they have begun stay theirs, with their files.
    """
    if alone and not store.shared:
        remove_tree(settings.temporary)
        store.forget_aside()
    elif store.shared:
        remove_old(settings.temporary, _TEMPORARY_KEPT)
    remove_old(settings.cache / RESUMABLE, UNFINISHED_KEPT)
    # A job that is in neither list by now is nobody's, also if it has ended in between.
    found = [*settings.outputs.glob("*/*")]
    leftovers = store.leftovers()
    if store.shared:  # what this machine's last studio had begun, and what stopped in good order
        leftovers = [job for job in leftovers if job.runner in (None, store.me)]
    taken = _take_over(store, settings, leftovers)
    others = store.others() if store.shared else set[str]()
    done = store.known_jobs()
    for folder in found:
        job_id = folder.name.removeprefix(MARK).partition("-")[0]
        if (folder.parent.name, folder.name) not in done and job_id not in others:
            remove_tree(folder)
    for session in () if store.shared else settings.outputs.glob("*"):
        if session.is_dir() and not any(session.iterdir()):
            session.rmdir()
    with uploads_lock(settings.uploads):
        sessions = store.known_sessions()
        used = {path.parent for path in store.input_paths()}
        for folder in settings.uploads.glob("*"):
            if folder.name not in sessions:
                remove_tree(folder)
        Inbox(settings.uploads).sweep(used)
    store.requeue_unfinished(taken if store.shared else None)


def take_over(store: Store, settings: Settings, lost: Iterable[Leftover]) -> bool:
    """Queue jobs again whose studios are gone; whether there were any."""
    taken = _take_over(store, settings, lost)
    if taken:
        store.requeue_unfinished(taken)
    return bool(taken)


def _take_over(store: Store, settings: Settings, jobs: Iterable[Leftover]) -> list[str]:
    """Make jobs this studio's and clear what their files left; ids of those that it got."""
    taken: list[str] = []
    for job in jobs:
        if not store.take_over(job):
            continue
        taken.append(job.id)
        try:
            _clear(job)
        except OSError as error:  # a disk that is not plugged in must not keep the studio shut
            sys.stderr.write(f"{job.out_dir} could not be cleared: {error}\n")
            continue
        if not job.done:
            for folder in (settings.outputs / job.session_id).glob(f"*{job.id}*"):
                remove_tree(folder)
        store.settled(job.id)
    return taken


def _clear(job: Leftover) -> None:
    for move in job.moving:
        settle(move) if job.done else retract(move)
    if job.out_dir is not None:
        remove_staged(job.out_dir, job.id)
