"""What a page asks the worker beside the jobs of the history, and sees answered as it is worked on.

A question is a job like any other, done by the worker, but it goes first, is listed nowhere, and
makes room for the owner's next question to the same engine. What is answered lies in a folder of
unfinished work, which only its owner's key leads to.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.base import UserError
from studio.jobs.task import scratch
from studio.jobs.views import NotFound
from studio.workspace import remove_tree

if TYPE_CHECKING:
    from studio.jobs.service import Studio
    from studio.jobs.views import JobView


class Questions:
    """Questions of all owners to one engine of `registry.aside_ids`; every call takes the owner.

    The engine's parameters have a `key`, and it answers into `job.resumable(key)`.
    """

    def __init__(self, studio: Studio, engine: str) -> None:
        self._studio = studio
        self._engine = engine

    def ask(
        self,
        owner: str,
        session_id: str,
        inputs: Sequence[Path],
        params: Mapping[str, Any],
        *,
        device: str | None = None,
    ) -> str:
        """Put a question in the place of the owner's earlier one; returns its id.

        Raises:
            UserError: it cannot be asked.
        """
        earlier = [j for j in self._studio.store.aside(owner) if j.engine == self._engine]
        [asked] = self._studio.submit(
            owner, session_id, self._engine, [inputs], {**params, "key": secrets.token_hex(16)},
            device=device, seed=0,
        )  # fmt: skip
        self._forget(owner, earlier)  # only now, so that no other work begins in between
        return asked

    def find(self, owner: str, asked: str) -> tuple[JobView, Path]:
        """A question's job, and the folder of what is answered so far, which may not be there yet.

        Raises:
            NotFound: there is no such question of the owner's, or a newer one took its place.
        """
        job = self._studio.job(owner, asked)
        if job.engine != self._engine:
            raise NotFound("There is no such question")
        return job, self._folder(owner, job)

    def stop(self, owner: str, asked: str) -> None:
        """Stop answering; what was answered so far stays.

        Raises:
            NotFound: there is no such question of the owner's.
        """
        job, _ = self.find(owner, asked)
        self._studio.cancel(owner, job.id)

    def _folder(self, owner: str, job: JobView) -> Path:
        return scratch(self._studio.settings.cache, owner, self._engine, str(job.params["key"]))

    def _forget(self, owner: str, earlier: Sequence[JobView]) -> None:
        """Stop questions; one that runs is forgotten by the one after the next."""
        for job in earlier:
            self._studio.cancel(owner, job.id)
            with suppress(UserError):  # it has just begun, and stays until then
                if job.state != "running":
                    self._studio.delete_job(owner, job.id)
                    remove_tree(self._folder(owner, job))


def waits(job: JobView) -> bool:
    """Whether other work is being done before a question."""
    return job.state in ("queued", "interrupted")
