"""What the page is sent: every panel whose content changed, and what forms are filled with."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import gradio as gr

from studio.effects import Effect
from studio.forms import ModelChoices, free_choices, model_choices
from studio.jobs.service import Studio
from studio.scene import Panel, Scene, digest
from studio.tabs.generic import EngineForm, MethodTab

ACTIVE, IDLE = 1.0, 5.0  # seconds between two looks


class Offered(Protocol):
    """Weights that a field may name, of an owner."""

    def __call__(self, network: str, owner: str = "") -> list[tuple[str, str]]:
        """Label and id of each."""
        ...


class Updates:
    """Updates for the page's outputs, in their order."""

    def __init__(
        self, studio: Studio, panels: Sequence[Panel], tabs: Sequence[MethodTab], offered: Offered
    ) -> None:
        """Keep what there is; everything is built by now."""
        self._studio = studio
        self._panels = panels
        self._tabs = tabs
        self._offered = offered
        self.forms: list[EngineForm] = [one for tab in tabs for one in tab.forms]

    def tabs_of(self, engines: Iterable[str | None]) -> dict[str, str]:
        """Tab -> that engine of it, of the engines that are here."""
        wanted = set(engines)
        return {
            tab.id: one.engine.id
            for tab in self._tabs
            for one in tab.forms
            if one.engine.id in wanted
        }

    def begun(
        self, scene: Scene, drafts: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Drafts, with the presets that tabs begin with where there is none; tab -> its engine."""
        filled = dict(drafts)
        starting = self._studio.presets.starting(scene.owner)
        chosen = self.tabs_of(starting)
        for tab in self._tabs:
            for one in tab.forms:
                preset = starting.get(one.engine.id)
                if preset is not None and preset.engine not in drafts:
                    filled[preset.engine] = one.form.draft(preset.params)
                    scene.view.presets[tab.id] = preset.id
        return filled, chosen

    def changes(self, scene: Scene) -> list[Any]:
        """Updates for what is watched: panels whose content changed, and the pace of looking."""
        updates: list[Any] = []
        for panel in self._panels:
            html = panel.html(scene)
            mark = digest(html) if html is not None else None
            if mark is None or scene.view.seen.get(panel.name) == mark:
                updates.append(gr.skip())
            else:
                scene.view.seen[panel.name] = mark
                updates.append(html)
        busy = bool(scene.queue.running or scene.queue.waiting or scene.awaited)
        pace = ACTIVE if busy else IDLE
        timer = gr.skip() if scene.view.pace == pace else gr.Timer(pace)
        scene.view.pace = pace
        return [scene.view, timer, *updates]

    def answer(
        self,
        scene: Scene,
        effect: Effect,
        drafts: Mapping[str, Any],
        fill: Container[str | None],
        *,
        chosen: Mapping[str, str] | None = None,
        keep: Mapping[str, Any] | None = None,
    ) -> list[Any]:
        """Updates for all outputs.

        Args:
            scene: of now.
            effect: of what was done.
            drafts: what forms hold, by engine.
            fill: engines whose forms are filled from them.
            chosen: tab -> the engine that is chosen there from now on.
            keep: drafts that the browser keeps from now on; None leaves what it has.
        """
        scene.view.tab = effect.tab or scene.view.tab
        chosen = chosen or {}
        updates = self.changes(scene)
        updates.append({"session": scene.session.id, "opened": scene.view.opened})
        updates.append(gr.Tabs(selected=effect.tab) if effect.tab else gr.skip())
        updates.append(gr.skip() if keep is None else dict(keep))
        updates += [chosen.get(tab.id, gr.skip()) for tab in self._tabs]
        updates += [
            gr.Column(visible=one.engine.id == chosen[tab.id]) if tab.id in chosen else gr.skip()
            for tab in self._tabs
            for one in tab.forms
        ]
        for one in self.forms:
            choices = partial(self._offered, owner=scene.owner)
            fills = one.engine.id in fill
            updates += _filled(one, drafts, fills, effect.models, choices)
        return updates


def _filled(
    one: EngineForm, drafts: Mapping[str, Any], fill: bool, models: bool, offered: ModelChoices
) -> list[Any]:
    """Updates of one form's controls: their values from the draft, the weights on offer."""
    values = one.form.restored(drafts.get(one.engine.id))
    updates: list[Any] = values if fill else [gr.skip()] * len(values)
    for at, field in enumerate(one.form.fields):
        if field.kind == "model" and (fill or models):
            choices = model_choices(field, offered, values[at])
            updates[at] = gr.Dropdown(choices=choices, value=values[at])
        elif field.free and fill:
            updates[at] = gr.Radio(choices=free_choices(field, values[at]), value=values[at])
    return updates
