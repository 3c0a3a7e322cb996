"""What the page's buttons do with presets and recipes; each is named by its `data-do`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from engines import registry
from engines.base import UserError
from studio.effects import Effect
from studio.inbox import Inbox
from studio.jobs.requests import check_params
from studio.jobs.service import Studio
from studio.presets import Preset, from_json
from studio.recipes.recipe import Recipe, Step, checked, named
from studio.recipes.runs import Recipes
from studio.scene import Scene, engine_or_none, tab_id

TAB = "recipes"  # the page's tab of recipes
_PRESET, _ENGINE = "preset:", "engine:"


class SettingsActions:
    """Every action checks the owner through the studio's own calls."""

    def __init__(self, studio: Studio, inbox: Inbox) -> None:
        """Collect the actions by name."""
        self._studio = studio
        self._inbox = inbox
        self._recipes = Recipes(studio)
        self.by_name: dict[str, Callable[[Mapping[str, str], Scene], Effect]] = {
            "preset-save": self._preset_of_job,
            "preset-save-form": self._preset_of_form,
            "preset-apply": self._apply,
            "preset-rename": self._rename_preset,
            "preset-remove": self._remove_preset,
            "preset-start": self._start_with,
            "preset-load": self._load_preset,
            "recipe-add": self._step_of_job,
            "recipe-add-form": self._step_of_form,
            "recipe-new": self._new,
            "recipe-step": self._step,
            "recipe-step-up": self._step_up,
            "recipe-step-out": self._step_out,
            "recipe-step-use": self._step_use,
            "recipe-copy": self._copy,
            "recipe-rename": self._rename,
            "recipe-remove": self._remove,
            "recipe-keep": self._keep,
            "recipe-run": self._run,
            "recipe-retry": self._retry,
        }

    # Presets

    def _preset_of_job(self, data: Mapping[str, str], scene: Scene) -> Effect:
        job = self._studio.job(scene.owner, data.get("key", ""))
        return self._keep_preset(scene, job.engine, job.params, data.get("text", ""))

    def _preset_of_form(self, data: Mapping[str, str], scene: Scene) -> Effect:
        engine, params = _form(scene)
        return self._keep_preset(scene, engine, params, data.get("text", ""))

    def _keep_preset(
        self, scene: Scene, engine: str, params: Mapping[str, Any], name: str
    ) -> Effect:
        values, _, _ = check_params(engine, params)
        kept = self._studio.presets.save(scene.owner, engine, name, values)
        scene.view.presets[tab_id(registry.engine_class(engine).tab)] = kept.id
        return Effect(said=f"{kept.name} can now be chosen as a preset")

    def _apply(self, data: Mapping[str, str], scene: Scene) -> Effect:
        tab, key = data.get("tab", ""), data.get("key", "")
        if not key:
            scene.view.presets.pop(tab, None)
            engine = scene.form[0] if scene.form else ""
            return Effect(engine=engine, said="Everything is automatic again")
        preset = self._studio.presets.get(scene.owner, key)
        scene.view.presets[tab] = key
        return _filled(preset.engine, preset.params, f"The form now holds the preset {preset.name}")

    def _rename_preset(self, data: Mapping[str, str], scene: Scene) -> Effect:
        self._studio.presets.rename(scene.owner, self._preset(data, scene), data.get("text", ""))
        return Effect()

    def _remove_preset(self, data: Mapping[str, str], scene: Scene) -> Effect:
        preset = self._preset(data, scene)
        self._studio.presets.remove(scene.owner, preset)
        return Effect(said=f"The preset {preset.name} was deleted")

    def _start_with(self, data: Mapping[str, str], scene: Scene) -> Effect:
        """The tab begins with this preset from now on, or no longer."""
        preset = self._preset(data, scene)
        self._studio.presets.start_with(scene.owner, preset, on=not preset.starts)
        if preset.starts:
            return Effect(said="This tab begins with automatic settings again")
        return Effect(said=f"A new session begins with {preset.name} on this tab")

    def _load_preset(self, data: Mapping[str, str], scene: Scene) -> Effect:
        """Keep the preset of a file under a name that is free, and fill the form with it."""
        preset = from_json(data.get("text", ""), Path(data.get("name", "")).stem)
        values, _, _ = check_params(preset.engine, preset.params)
        taken = {one.name for one in self._studio.presets.list(scene.owner)}
        names = (preset.name if n == 1 else f"{preset.name[:70]} {n}" for n in count(1))
        name = next(one for one in names if one not in taken)
        kept = self._studio.presets.save(scene.owner, preset.engine, name, values)
        tab = tab_id(registry.engine_class(preset.engine).tab)
        scene.view.presets[tab] = kept.id
        return _filled(kept.engine, kept.params, f"The form now holds the preset {kept.name}")

    def _preset(self, data: Mapping[str, str], scene: Scene) -> Preset:
        return self._studio.presets.get(scene.owner, data.get("key", ""))

    # Recipes

    def _step_of_job(self, data: Mapping[str, str], scene: Scene) -> Effect:
        job = self._studio.job(scene.owner, data.get("key", ""))
        return self._add_step(scene, data.get("text", ""), Step(job.engine, job.params))

    def _step_of_form(self, data: Mapping[str, str], scene: Scene) -> Effect:
        engine, params = _form(scene)
        values, _, _ = check_params(engine, params)
        return self._add_step(scene, data.get("text", ""), Step(engine, values))

    def _add_step(self, scene: Scene, name: str, step: Step) -> Effect:
        """To the recipe of that name, which begins with it where there is none."""
        clean = named(name)
        mine = [one for one in self._recipes.book.list(scene.owner) if one.name == clean]
        old = mine[0] if mine else Recipe(clean, ())
        kept = self._recipes.book.save(
            scene.owner, replace(old, steps=(*old.steps, step)), replacing=True
        )
        return Effect(said=f"{step.title} is now step {len(kept.steps)} of the recipe {kept.name}")

    def _new(self, data: Mapping[str, str], scene: Scene) -> Effect:
        step = self._chosen(data, scene)
        recipe = self._recipes.book.save(scene.owner, Recipe(named(data.get("text", "")), (step,)))
        return Effect(said=f"{recipe.name} begins with {step.title}; add what follows")

    def _chosen(self, data: Mapping[str, str], scene: Scene) -> Step:
        """What a list of presets and engines offers."""
        key = data.get("key", "")
        if key.startswith(_PRESET):
            preset = self._studio.presets.get(scene.owner, key.removeprefix(_PRESET))
            return Step(preset.engine, preset.params)
        return Step(key.removeprefix(_ENGINE))

    def _step(self, data: Mapping[str, str], scene: Scene) -> Effect:
        return self._add_step(scene, data.get("recipe", ""), self._chosen(data, scene))

    def _step_up(self, data: Mapping[str, str], scene: Scene) -> Effect:
        recipe, at = self._at(data, scene)
        steps = list(recipe.steps)
        if at:
            steps[at - 1], steps[at] = steps[at], steps[at - 1]
        self._save(scene, replace(recipe, steps=tuple(steps)))
        return Effect()

    def _step_out(self, data: Mapping[str, str], scene: Scene) -> Effect:
        recipe, at = self._at(data, scene)
        if len(recipe.steps) == 1:
            raise UserError("This is the only step; delete the recipe instead")
        self._save(scene, replace(recipe, steps=recipe.steps[:at] + recipe.steps[at + 1 :]))
        return Effect()

    def _step_use(self, data: Mapping[str, str], scene: Scene) -> Effect:
        recipe, at = self._at(data, scene)
        step = recipe.steps[at]
        return _filled(
            step.engine, step.params, f"The form now holds step {at + 1} of {recipe.name}"
        )

    def _at(self, data: Mapping[str, str], scene: Scene) -> tuple[Recipe, int]:
        recipe = self._recipe(data, scene)
        at = data.get("step", "")
        if not at.isdecimal() or int(at) >= len(recipe.steps):
            raise UserError("This recipe has changed; look at it again")
        return recipe, int(at)

    def _save(self, scene: Scene, recipe: Recipe) -> None:
        self._recipes.book.save(scene.owner, recipe, replacing=True)

    def _recipe(self, data: Mapping[str, str], scene: Scene) -> Recipe:
        return self._recipes.book.find(scene.owner, data.get("recipe", ""))

    def _copy(self, data: Mapping[str, str], scene: Scene) -> Effect:
        old = self._recipe(data, scene)
        kept = self._recipes.book.save(scene.owner, replace(old, name=data.get("text", "")))
        return Effect(said=f"{kept.name} is yours to change")

    def _rename(self, data: Mapping[str, str], scene: Scene) -> Effect:
        self._recipes.book.rename(scene.owner, data.get("recipe", ""), data.get("text", ""))
        return Effect()

    def _remove(self, data: Mapping[str, str], scene: Scene) -> Effect:
        name = data.get("recipe", "")
        self._recipes.book.remove(scene.owner, name)
        return Effect(said=f"The recipe {name} was deleted; what it made stays")

    def _keep(self, data: Mapping[str, str], scene: Scene) -> Effect:
        scene.view.keep_steps = not scene.view.keep_steps
        return Effect()

    def _run(self, data: Mapping[str, str], scene: Scene) -> Effect:
        recipe = checked(self._recipe(data, scene))
        chosen = self._inbox.files(scene.session.id, TAB)
        if not chosen:
            raise UserError("Add files first, then run a recipe on them")
        suffixes = recipe.first.suffixes
        fit = [one for one in chosen if not suffixes or one.path.suffix.lower() in suffixes]
        if not fit:
            raise UserError(
                f"{recipe.name} begins with {recipe.first.title}, which reads none of these files"
            )
        sent = {one.path for one in fit if one.upload}
        ids = self._recipes.submit(
            scene.owner, scene.session.id, recipe, [one.path for one in fit],
            keep=scene.view.keep_steps or recipe.keep, uploads=sent,
        )  # fmt: skip
        first = [self._studio.job(scene.owner, chain[0]) for chain in ids]
        kept = [file.path for job in first for file in job.inputs]
        moved = dict(zip((one.path for one in fit), kept, strict=True))
        self._inbox.submitted(
            scene.session.id, TAB, {old: new for old, new in moved.items() if old in sent}
        )
        scene.view.recipe_batch = first[0].batch or ""
        left = len(chosen) - len(fit)
        if not left:
            return Effect()
        files = "file is" if left == 1 else "files are"
        return Effect(said=f"{left} {files} left out: {recipe.first.title} does not read them")

    def _retry(self, data: Mapping[str, str], scene: Scene) -> Effect:
        self._recipes.retry(scene.owner, data.get("key", ""))
        return Effect()


def _form(scene: Scene) -> tuple[str, Mapping[str, Any]]:
    if scene.form is None:
        raise UserError("This button is no longer known; reload the page")
    engine, params = scene.form
    return engine, params()


def _filled(engine_id: str, params: Mapping[str, Any], said: str) -> Effect:
    """Fill the form of an engine, and say what it no longer knows."""
    engine = engine_or_none(engine_id)
    if engine is None:
        raise UserError(f"The engine {engine_id} is no longer there, so it has no settings")
    gone = sorted(set(params) - set(engine.Params.model_fields))
    if gone:
        said += f"; no longer known and left out: {', '.join(gone)}"
    return Effect(tab=tab_id(engine.tab), engine=engine_id, params=params, said=said)
