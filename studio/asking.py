"""A question to a model before and after it was quantized, beside the jobs of the history.

It is a job like any other, done by the worker, but it goes first, is listed nowhere, and makes room
for the next question of the same owner. Its text comes from a file that the worker writes.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.base import UserError
from engines.quantize.ask import ANSWER, AskEngine
from studio.jobs.task import scratch
from studio.jobs.views import NotFound
from studio.workspace import remove_tree

if TYPE_CHECKING:
    from studio.jobs.service import Studio
    from studio.jobs.views import JobView


@dataclass(frozen=True)
class Answer:
    """What is answered so far.

    Attributes:
        state: of the job.
        error: why there is no answer at all.
        ahead: whether other work is being done first.
        sides: "original" and "quantized" -> state, text, tokens, seconds, error.
    """

    state: str
    error: str
    ahead: bool
    sides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])


class Asking:
    """Questions of all owners; every call takes the owner."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def ask(
        self,
        owner: str,
        job_id: str,
        prompt: str,
        *,
        chat: bool = False,
        max_tokens: int = 64,
        temperature: float = 0.0,
    ) -> str:
        """Ask both models of a finished job; returns the id of the question.

        Raises:
            UserError: the job has no model (any more), or the question cannot be asked.
        """
        job = self._studio.job(owner, job_id)
        model = job.primary
        if job.state != "done" or model is None or not model.folder or not job.inputs:
            raise UserError("Only a model that was quantized here can be asked")
        if model.missing:
            raise UserError(f"{model.name} was moved or deleted; run it again")
        if not prompt.strip():
            raise UserError("Type something for the models to answer")
        sides = {"original": job.inputs[0].path, "quantized": model.path}
        if not sides["original"].exists():
            del sides["original"]
        earlier = self._studio.store.aside(owner)
        params = {
            "key": secrets.token_hex(16), "sides": list(sides), "prompt": prompt, "chat": chat,
            "max_tokens": max_tokens, "temperature": temperature,
        }  # fmt: skip
        [asked] = self._studio.submit(
            owner, job.session_id, AskEngine.id, [list(sides.values())], params,
            device=job.device or None, seed=0,
        )  # fmt: skip
        self._forget(owner, earlier)  # only now, so that no other work begins in between
        return asked

    def answer(self, owner: str, asked: str) -> Answer:
        """What there is of an answer now.

        Raises:
            NotFound: there is no such question of the owner's, or a newer one took its place.
        """
        job = self._question(owner, asked)
        try:
            sides = json.loads((self._folder(owner, job) / ANSWER).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it has not begun
            sides = {side: {"state": "waiting"} for side in job.params["sides"]}
        waits = job.state in ("queued", "interrupted")
        return Answer(job.state, job.error or "", waits, sides)

    def stop(self, owner: str, asked: str) -> None:
        """Stop answering; what was said so far stays.

        Raises:
            NotFound: there is no such question of the owner's.
        """
        self._studio.cancel(owner, self._question(owner, asked).id)

    def _question(self, owner: str, asked: str) -> JobView:
        job = self._studio.job(owner, asked)
        if job.engine != AskEngine.id:
            raise NotFound("There is no such question")
        return job

    def _folder(self, owner: str, job: JobView) -> Path:
        return scratch(self._studio.settings.cache, owner, AskEngine.id, str(job.params["key"]))

    def _forget(self, owner: str, earlier: Sequence[JobView]) -> None:
        """Stop questions; one that runs is forgotten by the one after the next."""
        for job in earlier:
            self._studio.cancel(owner, job.id)
            with suppress(UserError):  # it has just begun, and stays until then
                if job.state != "running":
                    self._studio.delete_job(owner, job.id)
                    remove_tree(self._folder(owner, job))
