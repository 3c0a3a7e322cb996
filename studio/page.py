"""The page's events: every handler finds the owner first, does one thing, and sends what changed.

The page holds no work. It shows rows that the worker writes, so a reload, a second window or a
restart of the studio finds everything where it was.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import escape

from engines.base import UserError
from engines.raw.noise.profile import PROFILES, PROFILES_OR_NONE
from studio.actions import Actions, Effect
from studio.cameras import camera_choices
from studio.checks import Checks
from studio.inbox import Inbox
from studio.jobs.service import Studio
from studio.limits import told
from studio.markup import sentence
from studio.model_actions import ModelActions
from studio.panels import library, models
from studio.panels.header import HeaderPanel
from studio.panels.library import LibraryPanel, SessionsPanel
from studio.panels.models import ModelsPanel, ModelToolsPanel
from studio.panels.notice import NoticePanel
from studio.panels.queue import QueuePanel
from studio.scene import Notice, Panel, Scene, View, tab_of
from studio.sent import add_sent
from studio.tabs.generic import MethodTab
from studio.tabs.recipes import RecipesTab
from studio.updates import ACTIVE, Updates
from studio.visitors import Visitors

_KEEP_DRAFT = """(drafts, ...values) => {
  const names = %s;
  return {...drafts, [%s]: Object.fromEntries(names.map((name, at) => [name, values[at]]))};
}"""
# What is shown follows the settings while they are changed, without a request.
_FOLLOW = """(engine, ...values) => {
  const names = %s;
  let at = 0;
  const given = {};
  for (const [id, own] of names) {
    if (id === engine) own.forEach((name, n) => { given[name] = values[at + n]; });
    at += own.length;
  }
  window.NoiseStudio.follow(%s, engine, given);
}"""
# The tab of the address, in the browser and at once: the studio's answer comes later, when a person
# may have gone on to another one.
_TAB_OF_ADDRESS = """() => {
  const tabs = %s;
  const asked = new URLSearchParams(location.search).get("tab");
  return {__type__: "update", selected: Object.hasOwn(tabs, asked) ? tabs[asked] : %s};
}"""
_TAB_SHOWN = """(memory, view) => {
  const shown = document.querySelector("#ns-tabs [role=tab][aria-selected=true]");
  return [{...memory, tab: shown?.dataset.tabId}, view];
}"""
# Nothing here takes long, so nothing needs Gradio's queue and its event stream.
_DIRECT: dict[str, Any] = {
    "api_visibility": "private", "show_progress": "hidden", "queue": False,
}  # fmt: skip


class Page:
    """Builds the Blocks of the page and wires its events."""

    def __init__(
        self, blocks: gr.Blocks, studio: Studio, visitors: Visitors, tabs: Sequence[MethodTab]
    ) -> None:
        """Build everything; call inside the context of `blocks`."""
        self.blocks = blocks
        self.studio = studio
        self.visitors = visitors
        self.tabs = list(tabs)
        self.inbox = Inbox(studio.settings.uploads)
        examples = {tab.id: tab.example for tab in self.tabs if tab.example is not None}
        self.actions = Actions(studio, self.inbox, examples)
        self.checks = Checks(studio.settings)
        self.actions.add(ModelActions(studio, self.checks).by_name)
        self._build()
        self._wire()

    def _build(self) -> None:
        # Fixed key and secret: what the browser keeps must outlive the server. It keeps ids only,
        # and every id is checked against the owner.
        self.memory = gr.BrowserState({}, storage_key="noise-studio", secret="noise-studio")  # noqa: S106
        self.drafts = gr.BrowserState({}, storage_key="noise-studio-drafts", secret="noise-studio")  # noqa: S106
        self.view = gr.State(View())
        header = HeaderPanel()
        with gr.Tabs(selected=self.tabs[0].id, elem_id="ns-tabs") as self.tabset:
            self.tab_items: list[gr.Tab] = []
            for tab in self.tabs:
                with gr.Tab(tab.title, id=tab.id) as item:
                    tab.build(self.studio, self.inbox, self._model_choices)
                self.tab_items.append(item)
            self.recipes = RecipesTab()
            with gr.Tab(self.recipes.title, id=self.recipes.id) as item:
                self.recipes.build(self.studio, self.inbox)
            self.tab_items.append(item)
            with gr.Tab("Library", id=library.TAB) as item:
                past = [SessionsPanel(), LibraryPanel()]
            self.tab_items.append(item)
            with gr.Tab("Models", id=models.TAB) as item:
                weights = [ModelsPanel(self.studio, self.checks), ModelToolsPanel(self.studio)]
            self.tab_items.append(item)
        rules = told(self.studio.settings)
        if rules:
            gr.HTML(
                f'<p class="ns-note">{escape(rules)}</p>',
                elem_id="ns-told", apply_default_css=False,
            )  # fmt: skip
        queue, notice = QueuePanel(), NoticePanel()
        self.timer = gr.Timer(ACTIVE)
        self.panels: list[Panel] = [queue, notice, *past, *weights, *self.recipes.panels]
        for tab in self.tabs:
            # A result first: what stands beside it is to know of one that has just been opened.
            self.panels += [tab.files, tab.presets, tab.result, *tab.beside]
        self.panels.append(header)  # last: it tells the address what the others have opened
        self.updates = Updates(self.studio, self.panels, self.tabs, self._model_choices)

    def _model_choices(self, network: str, owner: str = "") -> list[tuple[str, str]]:
        if network in (PROFILES, PROFILES_OR_NONE):
            return camera_choices(self.studio, owner, none=network == PROFILES_OR_NONE)
        return [
            (f"{model.title} ({model.state})", model.id)
            for model in self.studio.models.list(network)
        ]

    @property
    def _tab_ids(self) -> list[str]:
        return [*(tab.id for tab in self.tabs), self.recipes.id, library.TAB, models.TAB]

    @property
    def _tabs_by_name(self) -> dict[str, str]:
        """The id of a tab by each name that an address may give it."""
        return {tab: tab for tab in self._tab_ids} | dict.fromkeys(library.ALSO, library.TAB)

    @property
    def _watched(self) -> list[Any]:
        return [self.view, self.timer, *(panel.component for panel in self.panels)]

    def _wire(self) -> None:
        forms = [control for one in self.updates.forms for control in one.form.controls]
        choices = [tab.choice for tab in self.tabs]
        groups = [one.group for one in self.updates.forms]
        self._outputs = [*self._watched, self.memory, self.tabset, self.drafts, *choices, *groups]
        self._outputs += forms
        state = [self.memory, self.view]
        asked = json.dumps(self._tabs_by_name), json.dumps(self.tabs[0].id)
        self.blocks.load(
            None, outputs=[self.tabset], js=_TAB_OF_ADDRESS % asked, queue=False,
            api_visibility="private",
        )  # fmt: skip
        opened = self.blocks.load(self._open, [*state, self.drafts], self._outputs, **_DIRECT)
        opened.then(self._arrived, state, self._watched, js=_TAB_SHOWN, **_DIRECT)
        self.timer.tick(self._look, state, self._watched, trigger_mode="once", **_DIRECT)
        for item, tab in zip(self.tab_items, self._tab_ids, strict=True):
            item.select(_for(self._select, tab), state, self._watched, **_DIRECT)
        of_forms = [tab.presets for tab in self.tabs]
        for panel in self.panels:
            if panel not in of_forms:
                panel.component.click(
                    self._act, [*state, self.drafts], self._outputs, trigger_mode="multiple",
                    **_DIRECT,
                )  # fmt: skip
        for tab in self.tabs:
            tab.presets.component.click(
                _for_event(self._act_on_form, tab),
                [*state, self.drafts, tab.choice, *tab.controls], self._outputs,
                trigger_mode="multiple", **_DIRECT,
            )  # fmt: skip
        self.recipes.drop.upload(
            self._add_to_recipes, [*state, self.recipes.drop],
            [*self._watched, self.recipes.drop], **_DIRECT,
        )  # fmt: skip
        self.recipes.path.submit(
            _for(self._add_path, self.recipes), [*state, self.recipes.path],
            [*self._watched, self.recipes.path], **_DIRECT,
        )  # fmt: skip
        for tab in self.tabs:
            self._wire_tab(tab, state)
            if tab.live:
                self._follow(tab, opened)

    def _follow(self, tab: MethodTab, opened: Any) -> None:
        """Tell the browser the settings of a tab, once it has them and when they change."""
        names = [(one.engine.id, one.form.names) for one in tab.forms]
        told: dict[str, Any] = {
            "fn": None, "js": _FOLLOW % (json.dumps(names), json.dumps(tab.id)),
            "inputs": [tab.choice, *tab.controls], "queue": False,
        }  # fmt: skip
        opened.then(**told)
        gr.on([one.change for one in (tab.choice, *tab.controls)], **told)  # type: ignore[attr-defined]

    def _wire_tab(self, tab: MethodTab, state: list[Any]) -> None:
        tab.drop.upload(
            _for(self._add_uploads, tab), [*state, tab.drop], [*self._watched, tab.drop],
            **_DIRECT,
        )  # fmt: skip
        tab.path.submit(
            _for(self._add_path, tab), [*state, tab.path], [*self._watched, tab.path], **_DIRECT
        )
        tab.run.click(
            _for(self._run, tab), [*state, tab.choice, *tab.controls], self._watched, **_DIRECT
        )
        if len(tab.forms) > 1:
            groups = [one.group for one in tab.forms]
            tab.choice.input(tab.shown_group, [tab.choice], groups, **_DIRECT)
        for one in tab.forms:
            one.form.wire(**_DIRECT)
            # In the browser alone: a draft costs no request, and survives the server.
            gr.on(
                [control.input for control in one.form.controls],  # type: ignore[attr-defined]
                fn=None,
                js=_KEEP_DRAFT % (json.dumps(one.form.names), json.dumps(one.engine.id)),
                inputs=[self.drafts, *one.form.controls],
                outputs=[self.drafts],
                queue=False,
            )

    # --- events -------------------------------------------------------------------------------

    def _scene(self, memory: Any, view: View, request: gr.Request) -> Scene:
        try:
            owner = self.visitors.of_event(request)
        except UserError as error:
            raise gr.Error(sentence(str(error)), print_exception=False) from error
        wanted = memory.get("session") if isinstance(memory, dict) else None
        session = self.studio.open_session(owner, wanted if isinstance(wanted, str) else None)
        return Scene(self.studio, owner, session, view)

    def _open(self, memory: Any, view: View, drafts: Any, request: gr.Request) -> list[Any]:
        """The page is opened or reloaded: back to the same session, tab, result and draft."""
        scene = self._scene(memory, view, request)
        view.opened = secrets.token_hex(8)
        query = request.query_params
        view.tab = self._tabs_by_name.get(query.get("tab", ""), self.tabs[0].id)
        view.seen.clear()
        job = scene.job(query.get("job"))
        if job and job.session_id == scene.session.id and tab_of(job) == view.tab:
            view.open[view.tab] = job.id
        for tab in self.tabs:
            tab.result.open_latest(scene)
        drafted = drafts if isinstance(drafts, dict) else {}
        filled, chosen = self.updates.begun(scene, drafted)
        return self.updates.answer(
            scene, Effect(models=True), filled, fill=set(filled), chosen=chosen
        )

    def _arrived(self, memory: Any, view: View, request: gr.Request) -> list[Any]:
        """The page is there; a tab that was chosen before it was has not been heard of yet."""
        shown = memory.get("tab") if isinstance(memory, dict) else None
        if shown not in self._tab_ids or shown == view.tab:
            return [gr.skip()] * len(self._watched)
        return self._select(shown, request, memory, view)

    def _look(self, memory: Any, view: View, request: gr.Request) -> list[Any]:
        return self.updates.changes(self._scene(memory, view, request))

    def _select(self, tab: str, request: gr.Request, memory: Any, view: View) -> list[Any]:
        # Gradio selects the first tab while the page is made; that must not undo what `_open` does.
        if not isinstance(memory, dict) or memory.get("opened") != view.opened:
            return [gr.skip()] * len(self._watched)
        if tab != view.tab:  # else an action opened it, and has something to say
            view.tab, view.notice = tab, None
        return self.updates.changes(self._scene(memory, view, request))

    def _act(
        self, memory: Any, view: View, drafts: Any, event: gr.EventData, request: gr.Request
    ) -> list[Any]:
        return self._acted(self._scene(memory, view, request), drafts, event, request)

    def _act_on_form(
        self, tab: MethodTab, event: gr.EventData, request: gr.Request, memory: Any, view: View,
        drafts: Any, engine_id: str, *values: Any,
    ) -> list[Any]:  # fmt: skip
        scene = self._scene(memory, view, request)
        scene.form = engine_id, partial(tab.chosen_params, engine_id, values)
        return self._acted(scene, drafts, event, request)

    def _acted(
        self, scene: Scene, drafts: Any, event: gr.EventData, request: gr.Request
    ) -> list[Any]:
        view = scene.view
        data = event._data if isinstance(event._data, dict) else {}
        with _told(view):
            effect = self.actions.do({str(k): str(v) for k, v in data.items()}, scene)
            said = Notice(effect.said, wrong=False, undo=effect.undo)
            view.notice = said if effect.said else None
            kept = dict(drafts) if isinstance(drafts, dict) else {}
            if effect.fresh:
                return self._begin(scene, effect, kept, request)
            for one in self.updates.forms:
                if one.engine.id == effect.engine:
                    kept[one.engine.id] = one.form.draft(effect.params)
            if effect.session is not None:
                scene = self._go_to(effect, view, request)
            chosen = self.updates.tabs_of([effect.engine])
            kept_if = kept if effect.engine else None
            return self.updates.answer(
                scene, effect, kept, fill={effect.engine}, chosen=chosen, keep=kept_if
            )
        return self.updates.answer(scene, Effect(), {}, fill=())

    def _go_to(self, effect: Effect, view: View, request: gr.Request) -> Scene:
        """Another session, with its newest results, or the one that is meant."""
        scene = self._scene({"session": effect.session}, view, request)
        view.open.clear()
        view.coming.clear()
        if effect.job and effect.tab:
            view.open[effect.tab] = effect.job
        for tab in self.tabs:
            tab.result.open_latest(scene)
        return scene

    def _begin(
        self, scene: Scene, effect: Effect, drafts: dict[str, Any], request: gr.Request
    ) -> list[Any]:
        """A new session: tabs that begin with a preset do so, the others stay as they are."""
        scene = self._go_to(effect, scene.view, request)
        starting = self.studio.presets.starting(scene.owner)
        kept = {engine: draft for engine, draft in drafts.items() if engine not in starting}
        filled, chosen = self.updates.begun(scene, kept)
        return self.updates.answer(
            scene, effect, filled, fill=set(starting), chosen=chosen, keep=kept
        )

    def _add_uploads(
        self, tab: MethodTab, request: gr.Request, memory: Any, view: View, paths: Any
    ) -> list[Any]:
        scene = self._scene(memory, view, request)
        with _told(view):
            sent = [Path(path) for path in paths or []]
            view.notice = add_sent(self.studio, self.inbox, scene, tab, sent)
        return [*self.updates.changes(scene), None]

    def _add_to_recipes(
        self, memory: Any, view: View, paths: Any, request: gr.Request
    ) -> list[Any]:
        scene = self._scene(memory, view, request)
        with _told(view):
            sent = [Path(path) for path in paths or []]
            files, names = self.recipes.take_recipes(scene.owner, sent)
            if files:
                view.notice = add_sent(self.studio, self.inbox, scene, self.recipes, files)
            if names:
                view.notice = Notice(f"Recipe added: {', '.join(names)}", wrong=False)
        return [*self.updates.changes(scene), None]

    def _add_path(
        self, tab: MethodTab | RecipesTab, request: gr.Request, memory: Any, view: View, typed: str
    ) -> list[Any]:
        scene = self._scene(memory, view, request)
        with _told(view):
            if self.studio.settings.shared:
                raise UserError("Files of this machine cannot be named here; send yours instead")
            self.inbox.add_in_place(
                scene.session.id, tab.id, typed or "", tab.suffixes, models=tab.models
            )
            typed = ""
        return [*self.updates.changes(scene), typed]

    def _run(
        self,
        tab: MethodTab,
        request: gr.Request,
        memory: Any,
        view: View,
        engine_id: str,
        *values: Any,
    ) -> list[Any]:
        scene = self._scene(memory, view, request)
        with _told(view):
            tab.submit(scene, self.inbox, engine_id, values)
        return self.updates.changes(scene)


def _for(handler: Callable[..., Any], first: Any) -> Callable[..., Any]:
    """`handler` with its first argument given; Gradio puts the request before the values."""

    def with_request(request: gr.Request, *values: Any) -> Any:
        return handler(first, request, *values)

    return with_request


def _for_event(handler: Callable[..., Any], first: Any) -> Callable[..., Any]:
    """The same for a handler that is told the event as well."""

    def with_event(event: gr.EventData, request: gr.Request, *values: Any) -> Any:
        return handler(first, event, request, *values)

    return with_event


@contextmanager
def _told(view: View) -> Iterator[None]:
    """Shows a person's mistake as a sentence and goes on after the block."""
    view.notice = None
    try:
        yield
    except UserError as error:
        view.notice = Notice(str(error))
