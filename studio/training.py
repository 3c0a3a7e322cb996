"""Networks trained from the page, by the recipes that made those that ship.

A training is a question to the worker (`studio.questions`): it is in no list, an owner has one, and
what it has learned lies in the studio's cache, where `train RECIPE` goes on with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.base import UserError
from engines.trainer import FACTS, PICTURE, STOP, WEIGHTS, RecipeEngine
from studio.jobs.views import NotFound
from studio.questions import Questions, waits

if TYPE_CHECKING:
    from studio.jobs.service import Studio
    from studio.jobs.views import JobView

ELSEWHERE = "Networks are trained on a machine of your own, not here"


@dataclass(frozen=True)
class Lesson:
    """How a training is getting on.

    Attributes:
        asked: its id.
        recipe: what is trained.
        minutes: its budget.
        state: of the job.
        error: why there is nothing.
        ahead: whether other work is being done first.
        text: what is being done now.
        share: how much of the budget is spent, from 0 to 1.
        stopping: it was told to end, and is at its last validation.
        kept: its weights can be kept.
        found: the curve as [step, loss] ("curve"), "figures" by name, "step" and "picture".
    """

    asked: str
    recipe: str
    minutes: float
    state: str
    error: str
    ahead: bool
    text: str
    share: float
    stopping: bool
    kept: bool
    found: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Training:
    """Trainings of all owners; every call takes the owner."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._questions = Questions(studio, RecipeEngine.id)

    def start(self, owner: str, session: str, wanted: Mapping[str, Any]) -> str:
        """Begin, or go on; returns its id.

        Args:
            owner: who wants it.
            session: a session of the owner's.
            wanted: `recipe`, `minutes`, `resume` and, where it is one's own, a folder of `data`.

        Raises:
            UserError: others reach this studio, one is under way, or something is wrong.
        """
        if self._studio.settings.shared:
            raise UserError(ELSEWHERE)
        now = self.now(owner)
        if now is not None and now.state in ("queued", "running", "interrupted"):
            raise UserError(f"{now.recipe} is being trained; stop that first")
        data = str(wanted.get("data") or "").strip()
        if data and not Path(data).expanduser().is_dir():
            raise UserError(f"There is no such folder of your own files: {data}")
        params = {
            "recipe": str(wanted.get("recipe", "")),
            "minutes": wanted.get("minutes", 10.0),
            "resume": wanted.get("resume") is not False,
            "data": str(Path(data).expanduser().absolute()) if data else "",
            "folder": str(self._studio.settings.cache / "training"),
        }
        return self._questions.ask(owner, session, [], params)

    def now(self, owner: str) -> Lesson | None:
        """The owner's training, whether or not it goes on; None if there is none."""
        jobs = [job for job in self._studio.store.aside(owner) if job.engine == RecipeEngine.id]
        return self.look(owner, max(jobs, key=lambda job: job.seq).id) if jobs else None

    def look(self, owner: str, asked: str) -> Lesson:
        """How it is getting on.

        Raises:
            NotFound: there is no such training of the owner's.
        """
        job, folder = self._questions.find(owner, asked)
        found: dict[str, Any] = {}
        with suppress(OSError, ValueError):  # it has not begun
            found = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        running = job.state == "running"
        return Lesson(
            job.id, str(job.params["recipe"]), float(job.params["minutes"]), job.state,
            _reason(job), waits(job), job.text, job.done / job.total if job.total else 0.0,
            running and (folder / STOP).exists(), (folder / WEIGHTS).is_file(), found,
        )  # fmt: skip

    def stop(self, owner: str, asked: str) -> None:
        """End it as its budget would: what was learned is validated and can be kept.

        Raises:
            NotFound: there is no such training of the owner's.
        """
        job, folder = self._questions.find(owner, asked)
        if job.state == "running" and (folder / FACTS).is_file():
            (folder / STOP).touch()
        else:  # it waits, or still gets its data
            self._questions.stop(owner, asked)

    def picture(self, owner: str, asked: str) -> Path:
        """The picture of the last validation.

        Raises:
            NotFound: there is none.
        """
        return self._file(owner, asked, PICTURE)

    def weights(self, owner: str, asked: str) -> tuple[Path, str]:
        """What it made, and the recipe's name.

        Raises:
            NotFound: there is no such training, or it has not come to its end.
        """
        job, _ = self._questions.find(owner, asked)
        return self._file(owner, asked, WEIGHTS), str(job.params["recipe"])

    def _file(self, owner: str, asked: str, name: str) -> Path:
        _, folder = self._questions.find(owner, asked)
        if not (folder / name).is_file():
            raise NotFound("This training has not got so far; train again")
        return folder / name


def _reason(job: JobView) -> str:
    return "" if job.state in ("done", "cancelled") else job.error or ""
