"""Recipes: what there is, what each does, and how those that were run are getting on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from engines import registry
from engines.base import UserError
from studio.jobs.service import Studio
from studio.jobs.views import BatchItem, JobView
from studio.markup import plural, render
from studio.recipes.book import RecipeBook
from studio.recipes.recipe import MOST_STEPS, Recipe, checked, handed
from studio.recipes.runs import share
from studio.scene import Scene, html_panel
from studio.settings_actions import TAB

_FILES = 60  # of a batch that are shown; the library has all
_ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class _Card:
    recipe: Recipe
    problem: str
    file: str  # as an address
    full: bool
    handed: Sequence[str]


class RecipesPanel:
    """The recipes of an owner and those that ship."""

    name = "recipes"

    def __init__(self, studio: Studio) -> None:
        """Make the component; call inside a Blocks context."""
        self._book = RecipeBook(studio.factory)
        self.component = html_panel("ns-recipes")

    def html(self, scene: Scene) -> str | None:
        """The cards of now."""
        if scene.view.tab != TAB:
            return None
        presets = scene.studio.presets.list(scene.owner)
        engines = [(one, registry.engine_class(one)) for one in registry.engine_ids()]
        titles = {one: f"{engine.title}, {engine.tab}" for one, engine in engines}
        offered = [
            ("Presets", [(f"preset:{p.id}", f"{p.name} ({titles.get(p.engine, p.engine)})")
                         for p in presets]),
            ("Engines, automatic", [(f"engine:{one}", title) for one, title in titles.items()]),
        ]  # fmt: skip
        return render(
            "recipes.html",
            cards=[_card(recipe) for recipe in self._book.list(scene.owner)],
            offered=[(title, found) for title, found in offered if found],
            keep=scene.view.keep_steps,
        )


def _card(recipe: Recipe) -> _Card:
    problem = ""
    try:
        checked(recipe)
    except UserError as error:
        problem = str(error)
    address = f"data:text/plain;charset=utf-8,{quote(recipe.to_toml())}"
    return _Card(recipe, problem, address, len(recipe.steps) >= MOST_STEPS, handed(recipe))


@dataclass(frozen=True)
class _Step:
    id: str
    title: str
    state: str
    text: str


@dataclass(frozen=True)
class _File:
    name: str
    steps: Sequence[_Step]
    thumbnail: tuple[str, str] | None
    open: str  # job whose result is shown, "" while there is none


class RunsPanel:
    """The files of the recipe that was run last, step by step."""

    name = "recipe-runs"

    def __init__(self) -> None:
        """Make the component; call inside a Blocks context."""
        self.component = html_panel("ns-recipe-runs")

    def html(self, scene: Scene) -> str | None:
        """How far each file is."""
        if scene.view.tab != TAB:
            return None
        batch = scene.view.recipe_batch
        if not batch:
            batch = scene.studio.store.newest_recipe(scene.owner, scene.session.id)
        items = scene.batch(batch)
        first = scene.job(items[0].id) if items else None
        if first is None or not first.step:
            return render("recipe-runs.html", run=None)
        steps = first.step[1]
        chains = [items[at : at + steps] for at in range(0, len(items), steps)]
        running = {job.id: job for job in scene.queue.running}
        titles = _titles(scene, chains[0])
        states = [_state(chain) for chain in chains]
        ended = sum(state in _ENDED for state in states)
        left = [(state, states.count(state)) for state in ("failed", "cancelled")]
        words = [f"{states.count('done')} of {plural(len(chains), 'file')} done"]
        words += [f"{count} {state}" for state, count in left if count]
        return render(
            "recipe-runs.html",
            run={
                "name": first.recipe["name"],
                "words": ", ".join(words),
                "batch": batch,
                "under_way": ended < len(chains),
                "retry": any(count for _, count in left),
                "files": [_file(chain, titles, running) for chain in chains[:_FILES]],
                "more": len(chains[_FILES:]),
                "outputs": sum(item.outputs for item in items),
                "done": 100 * sum(_share(chain, running) for chain in chains),
                "total": 100 * len(chains),
            },
        )


def _titles(scene: Scene, chain: Sequence[BatchItem]) -> list[str]:
    jobs = [scene.job(item.id) for item in chain]
    return [job.title if job is not None else "" for job in jobs]


def _state(chain: Sequence[BatchItem]) -> str:
    """How a file ended, or that it has not."""
    bad = next((item.state for item in chain if item.state in ("failed", "cancelled")), "")
    return bad or ("done" if chain[-1].state == "done" else "running")


def _share(chain: Sequence[BatchItem], running: dict[str, JobView]) -> float:
    if _state(chain) in _ENDED:
        return 1.0
    own = [share(running[item.id]) for item in chain if item.id in running]
    return own[0] if own else sum(item.state == "done" for item in chain) / len(chain)


def _file(chain: Sequence[BatchItem], titles: Sequence[str], running: dict[str, JobView]) -> _File:
    steps: list[_Step] = []
    for item, title in zip(chain, titles, strict=True):
        job = running.get(item.id)
        text = item.state
        if job is not None:
            text = f"{100 * job.done / job.total:.0f} %" if job.total else "starting"
        steps.append(_Step(item.id, title, item.state, text))
    made = [item for item in chain if item.state == "done" and item.outputs]
    failed = [item for item in chain if item.state == "failed"]
    shown = (failed or made[-1:] or [None])[0]
    pictures = [item.thumbnail for item in made if item.thumbnail]
    return _File(
        chain[0].name, steps, pictures[-1] if pictures else None, shown.id if shown else ""
    )
