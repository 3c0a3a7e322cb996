"""What `run` and `watch` do with files: one engine with its settings, or a recipe."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines import registry
from engines.base import Engine, UserError
from studio.commands import parameters, settings
from studio.config import LOCAL
from studio.jobs.requests import check_params
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from studio.recipes.book import read_recipe
from studio.recipes.recipe import Recipe
from studio.recipes.runs import Recipes

RECIPE = "recipe:"


@dataclass(frozen=True)
class Work(ABC):
    """What is done with every file.

    Attributes:
        studio: that does it.
        label: what it is called.
        first: the engine that takes the files.
        steps: jobs that a file becomes.
        content: all that changes what comes out, in plain values.
        device: torch device, or None for the studio's.
    """

    studio: Studio
    label: str
    first: type[Engine]
    steps: int
    content: dict[str, Any]
    device: str | None

    @abstractmethod
    def submit_batch(self, session: str, paths: Sequence[Path], out: Path) -> list[list[str]]:
        """Queue files, or go on with them; ids of the jobs of each item, in order."""

    @abstractmethod
    def submit_one(self, session: str, path: Path, out: Path, batch: str) -> list[str]:
        """Queue one file under that batch; ids of its jobs, in order."""


class _EngineWork(Work):
    def submit_batch(self, session: str, paths: Sequence[Path], out: Path) -> list[list[str]]:
        ids = self.studio.submit_batch(
            LOCAL, session, self.first.id, paths, self.content["params"],
            out_dir=out, device=self.device,
        )  # fmt: skip
        return [[one] for one in ids]

    def submit_one(self, session: str, path: Path, out: Path, batch: str) -> list[str]:
        return self.studio.submit(
            LOCAL, session, self.first.id, [[path]], self.content["params"], source="cli",
            out_dir=out, batch=batch, device=self.device, seed=0,
        )  # fmt: skip


@dataclass(frozen=True)
class _RecipeWork(Work):
    recipe: Recipe
    keep: bool

    def submit_batch(self, session: str, paths: Sequence[Path], out: Path) -> list[list[str]]:
        return Recipes(self.studio).submit_batch(
            LOCAL, session, self.recipe, paths, out_dir=out, keep=self.keep, device=self.device
        )

    def submit_one(self, session: str, path: Path, out: Path, batch: str) -> list[str]:
        return Recipes(self.studio).submit(
            LOCAL, session, self.recipe, [path], keep=self.keep, source="cli", out_dir=out,
            batch=batch, device=self.device, seed=0,
        )[0]  # fmt: skip


def work_of(args: argparse.Namespace, studio: Studio, what: str) -> Work:
    """The work that `what` names, an engine's id or "recipe:" and a name or a file.

    Raises:
        UserError: there is none such, or an option is none of its.
    """
    device = settings.device(args)
    keep: bool | None = args.keep_steps
    if what.startswith(RECIPE):
        if args.param or args.preset:
            raise UserError(
                "A recipe has its settings in its steps; leave --param and --preset out"
            )
        recipe = _recipe(studio, what.removeprefix(RECIPE))
        kept = recipe.keep if keep is None else keep
        content = recipe.content() | {"keep": kept}
        return _RecipeWork(
            studio, recipe.name, recipe.first, len(recipe.steps), content, device, recipe, kept
        )
    if keep is not None:
        raise UserError("Only a recipe has steps to keep; leave --keep-steps out")
    engine = registry.engine_class(what)
    given = parameters.read(engine.Params, args.param)
    if args.preset is not None:
        given = studio.presets.load(LOCAL, what, args.preset) | given
    checked, _, _ = check_params(what, given)
    content = {"engine": what, "params": checked}
    return _EngineWork(studio, engine.title, engine, 1, content, device)


def _recipe(studio: Studio, name: str) -> Recipe:
    if name.endswith((".toml", ".json")):
        return read_recipe(Path(name))
    return Recipes(studio).book.find(LOCAL, name)


def outcome(chain: Sequence[JobView]) -> JobView:
    """The job that says how a file ended: the first step that did not go well, or the last."""
    return next((job for job in chain if job.state != "done"), chain[-1])
