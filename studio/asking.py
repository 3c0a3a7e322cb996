"""A question to a model before and after it was quantized; its text comes as it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engines.base import UserError
from engines.quantize.ask import ANSWER, AskEngine
from studio.questions import Questions, waits

if TYPE_CHECKING:
    from studio.jobs.service import Studio


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
        self._questions = Questions(studio, AskEngine.id)

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
        params = {
            "sides": list(sides), "prompt": prompt, "chat": chat, "max_tokens": max_tokens,
            "temperature": temperature,
        }  # fmt: skip
        return self._questions.ask(
            owner, job.session_id, list(sides.values()), params, device=job.device or None
        )

    def answer(self, owner: str, asked: str) -> Answer:
        """What there is of an answer now.

        Raises:
            NotFound: there is no such question of the owner's, or a newer one took its place.
        """
        job, folder = self._questions.find(owner, asked)
        try:
            sides = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it has not begun
            sides = {side: {"state": "waiting"} for side in job.params["sides"]}
        return Answer(job.state, job.error or "", waits(job), sides)

    def stop(self, owner: str, asked: str) -> None:
        """Stop answering; what was said so far stays.

        Raises:
            NotFound: there is no such question of the owner's.
        """
        self._questions.stop(owner, asked)
