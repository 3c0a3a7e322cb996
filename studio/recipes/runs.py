"""Recipes on their way through the queue: every step of every file is a job of one batch.

What a job knows of its recipe (`JobView.recipe`): `name`, `step` of `steps` from 1, `source` (the
name of the file that the chain began with) and `keep`. See `studio.jobs.store_chains` for how one
step follows another.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from engines import registry
from engines.base import UserError
from studio.jobs.intake import taken
from studio.jobs.new_job import NewJob
from studio.jobs.requests import batch_key, check_params, items_of, refuse_local
from studio.jobs.service import Source, Studio
from studio.jobs.views import JobView
from studio.recipes.book import RecipeBook
from studio.recipes.recipe import Recipe, checked
from studio.workspace import printable


class Recipes:
    """What page and command line do with recipes; every call takes the owner."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self.book = RecipeBook(studio.factory)

    def submit(
        self,
        owner: str,
        session_id: str,
        recipe: Recipe,
        inputs: Sequence[Path],
        *,
        keep: bool | None = None,
        source: Source = "page",
        out_dir: Path | None = None,
        uploads: bool | Collection[Path] = False,
        batch: str | None = None,
        device: str | None = None,
        seed: int | None = None,
    ) -> list[list[str]]:
        """Queue a recipe for each file.

        Args:
            owner: whose it is.
            session_id: a session of the owner's.
            recipe: what is done.
            inputs: files; where the first engine takes all together, they are one item.
            keep: whether what the steps before the last one make is kept; None as the recipe says.
            source: which door it came through.
            out_dir: where the last step's outputs go; what is kept of the others goes to folders in
                it that are called after their step. None keeps all in the studio's folder.
            uploads: see `Studio.submit`.
            batch: names the batch; None makes a name.
            device: torch device; None is the studio's.
            seed: of all steps; None draws one.

        Returns:
            Ids of the steps of each item, in order.

        Raises:
            UserError: a step is not (or no longer) right, there is nothing to do, or too much waits
                already.
        """
        recipe = checked(recipe)
        kept = recipe.keep if keep is None else keep
        items = items_of(recipe.steps[0].engine, inputs)
        if not inputs:
            raise UserError("There is nothing to do; choose at least one file")
        made = [check_params(step.engine, step.params) for step in recipe.steps]
        if self._studio.limits.applies(owner):
            for step, (params, _, _) in zip(recipe.steps, made, strict=True):
                refuse_local(step.engine, params)
        more: list[Sequence[Path]] = [()] * (len(items) * (len(made) - 1))
        self._studio.limits.admit(
            owner, recipe.steps[0].engine, [*items, *more], lambda: self._studio.storage(owner)
        )
        self._studio.store.touch_session(owner, session_id)
        batch = batch or secrets.token_hex(16)
        seed = secrets.randbelow(2**31) if seed is None else seed
        out = out_dir.absolute() if out_dir else None

        def chain(paths: Sequence[Path]) -> list[NewJob]:
            return [
                NewJob(
                    step.engine, version, params, paths if n == 1 else (), kind, source=source,
                    out_dir=_out(out, n, len(made), step.engine, keep=kept), batch=batch,
                    device=device or "auto", seed=seed,
                    recipe={
                        "name": recipe.name, "step": n, "steps": len(made), "keep": kept,
                        "source": printable(paths[0].name),
                    },
                )
                for n, (step, (params, version, kind)) in enumerate(
                    zip(recipe.steps, made, strict=True), 1
                )
            ]  # fmt: skip

        with taken(self._studio.settings.uploads, session_id, items, uploads) as here:
            ids = self._studio.store.add_chains(owner, session_id, [chain(item) for item in here])
        self._studio.wake()
        return ids

    def submit_batch(
        self,
        owner: str,
        session_id: str,
        recipe: Recipe,
        inputs: Sequence[Path],
        *,
        out_dir: Path,
        keep: bool | None = None,
        device: str | None = None,
    ) -> list[list[str]]:
        """Queue a folder's worth of files, or go on with the same batch where it stopped.

        The same recipe, folder and files (by size and time) are the same batch. Steps that are done
        and whose files are there are not done again.
        """
        recipe = checked(recipe)
        kept = recipe.keep if keep is None else keep
        content: dict[str, Any] = recipe.content() | {"keep": kept}
        key = batch_key("recipe", content, out_dir, inputs)
        before = chains(self._studio.store.newest_batch(owner, key))
        items = items_of(recipe.steps[0].engine, inputs)
        if len(before) == len(items) and any(not _is_done(chain[-1]) for chain in before):
            for chain in before:
                self._go_on(owner, chain, device)
            self._studio.wake()
            return [[job.id for job in chain] for chain in before]
        return self.submit(
            owner, session_id, recipe, inputs, keep=kept, source="cli", out_dir=out_dir,
            batch=f"{key}-{secrets.token_hex(8)}", device=device, seed=0,
        )  # fmt: skip

    def retry(self, owner: str, batch: str) -> int:
        """Go on with the files of a batch that did not come to their end; returns how many.

        Raises:
            UserError: there is none.
        """
        jobs = self._studio.store.jobs(owner, batch=batch, limit=100_000, newest_first=False)
        count = sum(self._go_on(owner, chain) for chain in chains(jobs))
        if not count:
            raise UserError("Nothing of this batch has failed")
        self._studio.wake()
        return count

    def _go_on(self, owner: str, chain: Sequence[JobView], device: str | None = None) -> bool:
        """Queue what is missing of one file's steps; False if nothing is, or it is under way."""
        if _is_done(chain[-1]) or not all(job.finished_state for job in chain):
            return False
        first = len(chain) - 1
        while first and not (_is_done(chain[first - 1]) and chain[first - 1].outputs):
            first -= 1
        self._studio.store.requeue(owner, [job.id for job in chain[first:]], device)
        return True


def chains(jobs: Sequence[JobView]) -> list[list[JobView]]:
    """Jobs of a batch in order -> the steps of each item."""
    found: list[list[JobView]] = []
    by_last: dict[str, list[JobView]] = {}
    for job in jobs:
        chain = by_last.pop(job.parent, None) if job.parent is not None else None
        if chain is None:
            chain = []
            found.append(chain)
        chain.append(job)
        by_last[job.id] = chain
    return found


def share(job: JobView) -> float:
    """How much of its whole chain is done once a job is where it is, from 0 to 1."""
    own = 1.0 if job.state == "done" else min(job.done / job.total, 1.0) if job.total else 0.0
    step, steps = job.step or (1, 1)
    return (step - 1 + own) / steps


def _out(out: Path | None, step: int, steps: int, engine: str, *, keep: bool) -> Path | None:
    if out is None or step == steps:
        return out
    return out / f"{step}-{registry.engine_class(engine).id}" if keep else None


def _is_done(job: JobView) -> bool:
    return job.state == "done" and not any(file.missing for file in job.outputs)


def described(recipe: Mapping[str, Any]) -> str:
    """Which step of which recipe a job is, in words; "" where it is none."""
    return f"{recipe['name']}, step {recipe['step']} of {recipe['steps']}" if recipe else ""
