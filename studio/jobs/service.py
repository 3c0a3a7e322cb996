"""`Studio`: what page, command line and API call. Calls on somebody's things take the owner."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from db.database import DatabaseError, close_database, open_database
from engines import registry
from engines.base import UserError
from studio.config import Settings
from studio.jobs.choose import choose_executor
from studio.jobs.given import Examples
from studio.jobs.intake import taken
from studio.jobs.memory import Held
from studio.jobs.new_job import NewJob
from studio.jobs.requests import batch_key, check_params, items_of, refuse_local
from studio.jobs.runner import Runner
from studio.jobs.store import Store
from studio.jobs.task import RESUMABLE, UNFINISHED_KEPT, scratch
from studio.jobs.unfinished import forget
from studio.jobs.views import ArtifactView, BatchItem, JobView, NotFound, QueueView, SessionView
from studio.jobs.visited import Visited
from studio.library import FACES, IMPORTS
from studio.limits import Limits
from studio.models import Models
from studio.presets import Presets
from studio.unpack import UNPACKED
from studio.workspace import (
    remove_old,
    remove_tree,
    tree_bytes,
    uploads_lock,
)

Source = Literal["page", "cli", "api"]
_STOPPED_WITHIN = 5.0  # seconds
_AT_ONCE = 500  # ids in one question to the database
_MOST = 1_000_000  # jobs of a session


class Studio:
    """One studio process on one home; thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Open (and where needed migrate) the database.

        Raises:
            UserError: the home cannot be written, or the database is of a newer release.
        """
        self.settings = settings
        try:
            for folder in (settings.outputs, settings.uploads, settings.models, settings.cache):
                folder.mkdir(parents=True, exist_ok=True)
            factory = open_database(settings.url)
        except OSError as error:
            raise UserError(
                f"The studio's folder {settings.home} cannot be written; set STUDIO_HOME to another"
            ) from error
        except DatabaseError as error:
            raise UserError(str(error)) from error
        self.factory = factory
        self.store = Store(factory)
        self.limits = Limits(settings, Visited(factory))
        self.examples = Examples(settings, factory)
        self.models = Models(settings, factory)
        self.presets = Presets(factory)
        executor = choose_executor(settings)
        self._runner = Runner(settings, self.store, executor, self.models.list)

    def start(self) -> None:
        """Recover what a crash left and start doing jobs, unless another process does."""
        self._runner.start()

    def stop(self) -> None:
        """Stop; a running job goes on at the next start."""
        self._runner.stop()
        close_database(self.factory)

    @property
    def is_runner(self) -> bool:
        """False while another process on this home does the jobs; then this one only watches."""
        return self._runner.holds_lock

    @property
    def held(self) -> Held | None:
        """What this process's worker keeps loaded."""
        return self._runner.memory.now()

    # Sessions

    def open_session(self, owner: str, session_id: str | None = None) -> SessionView:
        """That session if it is the owner's, else the one used last, else a new one."""
        known = self.store.sessions(owner)
        for view in known:
            if view.id == session_id:
                return view
        return known[0] if known else self.store.first_session(owner, _today())

    def new_session(self, owner: str, name: str = "") -> SessionView:
        """Create a session; without a name it is called by its date.

        Raises:
            LimitReached: a visitor has enough of them.
        """
        if self.limits.applies(owner):
            self.limits.check_sessions(owner, len(self.store.sessions(owner)))
        return self.store.add_session(owner, name.strip()[:200] or _today())

    def sessions(self, owner: str) -> list[SessionView]:
        """The owner's sessions, the one used last first."""
        return self.store.sessions(owner)

    def rename_session(self, owner: str, session_id: str, name: str) -> None:
        """Rename a session.

        Raises:
            UserError: the name is empty.
        """
        if not name.strip():
            raise UserError("A session needs a name; type one")
        self.store.rename_session(owner, session_id, name.strip()[:200])

    def delete_session(self, owner: str, session_id: str) -> None:
        """Delete a session's rows and files; files in folders of the person's stay.

        What waits is taken out of the queue and what runs is stopped first.

        Raises:
            UserError: something in it does not stop.
        """
        self.store.touch_session(owner, session_id)
        self.cancel_all(owner, session_id)
        deadline = time.monotonic() + _STOPPED_WITHIN
        while self._runs(owner, session_id) and time.monotonic() < deadline:
            time.sleep(0.05)
        models = self.store.model_hashes(owner, session_id)
        broken = self.jobs(owner, session_id, ("failed", "cancelled"), limit=_MOST)
        asked = [job for job in self.store.aside(owner) if job.session_id == session_id]
        self.store.remove_session(owner, session_id)
        self._forget_unpacked(owner, models)
        forget(self.settings.cache, [job.id for job in (*broken, *asked)])
        remove_tree(self.settings.outputs / session_id)
        remove_tree(self.settings.uploads / session_id)
        remove_tree(self.settings.cache / FACES / session_id)

    def _runs(self, owner: str, session_id: str | None = None) -> bool:
        """Whether anything of an owner's (in a session) runs, questions included."""
        asked = [job for job in self.store.aside(owner) if job.state == "running"]
        listed = self.counts(owner, session_id).get("running")
        return bool(listed) or any(job.session_id == session_id or not session_id for job in asked)

    # Jobs

    def submit(
        self,
        owner: str,
        session_id: str,
        engine_id: str,
        items: Sequence[Sequence[Path]],
        params: Mapping[str, Any],
        *,
        source: Source = "page",
        out_dir: Path | None = None,
        uploads: bool | Collection[Path] = False,
        batch: str | None = None,
        device: str | None = None,
        seed: int | None = None,
    ) -> list[str]:
        """Queue one job an item.

        Args:
            owner: whose it is.
            session_id: a session of the owner's.
            engine_id: see `engines.registry`.
            items: the files of each item (for most engines one).
            params: values of the engine's parameters; what is missing has its default.
            source: which door it came through.
            out_dir: where outputs go; None keeps them in the studio's folder.
            uploads: the files are the studio's to keep: they are moved into the session; or those
                of them that are.
            batch: jobs that were asked for together share one.
            device: torch device; None is the studio's.
            seed: None draws one.

        Returns:
            Ids of the jobs, in the order of the items.

        Raises:
            UserError: a parameter is wrong, there is nothing to do, or too much waits already.
        """
        checked, version, kind = check_params(engine_id, params)
        if self.limits.applies(owner):
            refuse_local(engine_id, checked)
        if not items:
            raise UserError("There is nothing to do; choose at least one file")
        self.limits.admit(owner, engine_id, items, lambda: self.storage(owner))
        self.store.touch_session(owner, session_id)
        if seed is None and self.limits.applies(owner):
            asked = (owner, session_id, (engine_id, version), checked, items, batch)
            if given := self.examples.take(*asked):
                return [given]
        batch = batch or secrets.token_hex(16)
        seed = secrets.randbelow(2**31) if seed is None else seed
        new = partial(
            NewJob, engine_id, version, checked, kind=kind, source=source, batch=batch, seed=seed,
            out_dir=out_dir.absolute() if out_dir else None, device=device or "auto",
        )  # fmt: skip
        with taken(self.settings.uploads, session_id, items, uploads) as here:
            ids = self.store.add(owner, session_id, [new(inputs=paths) for paths in here])
        self.wake()
        return ids

    def wake(self) -> None:
        """There are new jobs in the queue."""
        self._runner.wake()

    def submit_batch(
        self,
        owner: str,
        session_id: str,
        engine_id: str,
        inputs: Sequence[Path],
        params: Mapping[str, Any],
        *,
        out_dir: Path,
        device: str | None = None,
    ) -> list[str]:
        """Queue a folder's worth of files, or go on with the same batch where it stopped.

        The same engine, parameters, folder and files (by size and time) are the same batch. If
        its newest run did not come to an end, what is done and still there stays, and the rest is
        queued again; otherwise a new run begins.
        """
        checked, _, _ = check_params(engine_id, params)
        key = batch_key(engine_id, checked, out_dir, inputs)
        items = items_of(engine_id, inputs)
        before = self.store.newest_batch(owner, key)
        if before and len(before) == len(items) and any(not _is_done(job) for job in before):
            again = [job.id for job in before if job.finished_state and not _is_done(job)]
            self.store.requeue(owner, again, device)
            self.wake()
            return [job.id for job in before]
        return self.submit(
            owner, session_id, engine_id, items, params, source="cli",
            out_dir=out_dir, batch=f"{key}-{secrets.token_hex(8)}", device=device, seed=0,
        )  # fmt: skip

    def cancel(self, owner: str, job_id: str) -> None:
        """Take a waiting job out of the queue, or stop a running one within three seconds."""
        if self.store.request_cancel(owner, job_id) == "running":
            self._runner.cancel(job_id)

    def cancel_all(self, owner: str, session_id: str | None = None) -> int:
        """Cancel whatever of the owner's waits or runs; returns how many jobs that were."""
        count, running = self.store.request_cancel_all(owner, session_id)
        for job_id in running:
            self._runner.cancel(job_id)
        return count

    def delete_job(self, owner: str, job_id: str) -> None:
        """Delete a job with its files; files in folders of the person's stay.

        Raises:
            UserError: it is running.
        """
        view = self.store.remove_job(owner, job_id)
        if view.state == "running":
            raise UserError("This job is running; cancel it first")
        remove_tree(self.settings.outputs / view.session_id / view.id)
        remove_tree(self.settings.cache / FACES / view.session_id / view.id)
        forget(self.settings.cache, [view.id])
        if view.engine not in registry.aside_ids():  # the next question is to the same models
            self._forget_unpacked(owner, {file.sha256 for file in view.inputs})
        with uploads_lock(self.settings.uploads):
            for file in view.inputs:
                upload = file.path.parent.parent.parent == self.settings.uploads
                if upload and not self.store.in_use(file.path):
                    remove_tree(file.path.parent)

    def rerun(self, owner: str, job_id: str, params: Mapping[str, Any] | None = None) -> str:
        """Queue a job's inputs again, with the same or other parameters; returns the new id."""
        old = self.job(owner, job_id)
        [new] = self.submit(
            owner, old.session_id, old.engine, [[file.path for file in old.inputs]],
            old.params if params is None else params, seed=old.seed,
        )  # fmt: skip
        return new

    def job(self, owner: str, job_id: str) -> JobView:
        """One job; raises `NotFound`."""
        return self.store.job(owner, job_id)

    def jobs(
        self,
        owner: str,
        session_id: str | None = None,
        states: Sequence[str] = (),
        limit: int = 50,
        offset: int = 0,
        newest_first: bool = True,
        batch: str | None = None,
        tab: str = "",
    ) -> list[JobView]:
        """A page of the owner's jobs; `tab` is an engine id's first part, such as "raw"."""
        return self.store.jobs(
            owner, session_id=session_id, states=states, limit=limit, offset=offset,
            newest_first=newest_first, batch=batch, engine_prefix=f"{tab}." if tab else "",
        )  # fmt: skip

    def batch(self, owner: str, batch: str, limit: int = 1000) -> list[BatchItem]:
        """The first jobs of a batch of the owner's in a few words each, in order."""
        return self.store.batch(owner, batch, limit)

    def counts(
        self, owner: str, session_id: str | None = None, batch: str | None = None
    ) -> dict[str, int]:
        """How many of the owner's jobs are in each state."""
        return self.store.counts(owner, session_id, batch)

    def queue(self, owner: str) -> QueueView:
        """What runs and waits of the owner's."""
        return self.store.queue(owner)

    def artifact(self, owner: str, artifact_id: str) -> ArtifactView:
        """A file of the owner's that is there; raises `NotFound`."""
        view = self.store.artifact(owner, artifact_id)
        if view.missing:
            raise NotFound(f"{view.name} was moved or deleted")
        return view

    def wait(
        self,
        owner: str,
        job_ids: Sequence[str],
        on_change: Callable[[JobView], None] | None = None,
        poll: float = 0.1,
    ) -> list[JobView]:
        """Block until all of them have ended; `on_change` gets a job whenever it moved on.

        A job that is deleted meanwhile counts as cancelled.

        Raises:
            NotFound: there is no such job from the start.
        """
        views: dict[str, JobView] = {}
        for start in range(0, len(job_ids), _AT_ONCE):
            part = job_ids[start : start + _AT_ONCE]
            views |= {view.id: view for view in self.store.jobs(owner, ids=part, limit=_AT_ONCE)}
        views = {job_id: views.get(job_id) or self.job(owner, job_id) for job_id in job_ids}
        tell = on_change or _nobody_asks
        for view in views.values():
            tell(view)
        while True:
            waiting = [view.id for view in views.values() if not view.finished_state]
            if not waiting:
                return [views[job_id] for job_id in job_ids]
            for start in range(0, len(waiting), _AT_ONCE):
                part = waiting[start : start + _AT_ONCE]
                marks = self.store.marks(owner, part)
                for job_id in part:
                    before = views[job_id]
                    if marks.get(job_id) == (before.state, before.done):
                        continue
                    try:
                        views[job_id] = self.job(owner, job_id)
                    except NotFound:
                        views[job_id] = replace(
                            before, state="cancelled", error="It was deleted while it waited"
                        )
                    tell(views[job_id])
            time.sleep(poll)

    # Disk

    def storage(self, owner: str) -> int:
        """Bytes that the owner's sessions take in the studio's folder."""
        return sum(
            tree_bytes(folder / view.id)
            for view in self.store.sessions(owner)
            for folder in (self.settings.outputs, self.settings.uploads)
            if (folder / view.id).is_dir()
        )

    def clean(self) -> int:
        """Remove what can be made again; returns the bytes freed.

        That is logs, temporary files, thumbnails, unpacked archives, and work that was left
        unfinished and not gone on with for a month.
        """
        cache = self.settings.cache
        freed = remove_old(cache / RESUMABLE, UNFINISHED_KEPT)
        made = (cache / name for name in ("logs", UNPACKED, FACES, IMPORTS))
        for folder in (self.settings.temporary, *made):
            if folder.is_dir():
                freed += tree_bytes(folder)
                remove_tree(folder)
        return freed

    def _forget_unpacked(self, owner: str, hashes: Iterable[str]) -> None:
        """Remove what was unpacked of an owner's archives; another job of theirs makes it anew.

        While one of theirs runs, which may be reading it, it stays for a week.
        """
        if self._runs(owner):
            return
        cache = self.settings.cache
        for sha256 in hashes:
            remove_tree(cache / UNPACKED / scratch(cache, owner, "", sha256).name)


def _nobody_asks(_job: JobView) -> None:
    """What `wait` tells where nobody follows it."""


def _today() -> str:
    return time.strftime("%d %B %Y")


def _is_done(job: JobView) -> bool:
    return job.state == "done" and not any(file.missing for file in job.outputs)
