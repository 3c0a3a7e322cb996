"""The tab of any engines: files in, controls made from their parameters, Run, result.

A tab made by hand is a subclass that knows more of its files and its measurements.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gradio as gr
from gradio.components import Component
from markupsafe import Markup

from engines.base import Engine, UserError, takes_together
from engines.registry import engine_class
from studio.config import Settings
from studio.forms import Form, ModelChoices
from studio.inbox import Chosen, Inbox
from studio.jobs.requests import items_of
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from studio.panels.files import FilesPanel, Offer
from studio.panels.presets import PresetsPanel
from studio.panels.result import Icon, Reading, ResultPanel, plain_reading
from studio.reader import Look
from studio.scene import Panel, Scene, tab_id
from studio.theme import ASSETS

EXAMPLES = ASSETS / "examples"
_IN_SIGHT = 4  # methods that are all shown; more are chosen from a list


@dataclass(frozen=True)
class EngineForm:
    """An engine, its controls, and the group that is hidden while another engine is chosen."""

    engine: type[Engine]
    form: Form
    group: gr.Column


class MethodTab:
    """One tab with one or more engines."""

    noun = "file"
    familiar: tuple[str, ...] = ()  # suffixes to be named first, of many
    in_place = "Or a file or folder on this machine"
    place = "/home/me/photos/2026-11-20"
    credit = ""  # whose the example is
    listen = False  # files are sounds that can be played
    icon: Icon = "picture"
    models = False  # an item is the folder of a model
    first: tuple[str, ...] = ()  # settings that stand before the others
    only_with: Mapping[str, tuple[str, Any]] = MappingProxyType({})  # see `Form`
    sides = ("Before", "After")  # what is compared in a result
    live = False  # the browser follows the settings while they are changed
    empty = ("The result appears here", "Add a file and press Run. Nothing has to be set.")

    def __init__(self, title: str, engines: Sequence[type[Engine]]) -> None:
        """Prepare the tab; nothing is built yet."""
        self.title = title
        self.id = tab_id(title)
        self.engines = list(engines)
        self.suffixes = tuple(dict.fromkeys(s for engine in engines for s in engine.suffixes))

    @property
    def example(self) -> Path | None:
        """A file that ships with the studio to try this tab with, if there is one."""
        folder = EXAMPLES / self.id
        return next(iter(sorted(folder.glob("*"))), None) if folder.is_dir() else None

    def look(self, path: Path) -> Look:
        """What is known of a chosen file, or why it cannot be processed here."""
        if self.suffixes and path.suffix.lower() not in self.suffixes:
            return Look(problem=f"This is no {self.noun} that can be read here; remove it")
        return Look((path.suffix.lower().lstrip(".").upper() or "file",))

    def note(self, look: Look) -> Markup:
        """What stands below the facts of a chosen file; nothing here."""
        return Markup("")

    def build_beside(self, inbox: Inbox) -> Sequence[Panel]:
        """Make what stands above the result; nothing here."""
        return ()

    def read(self, measurements: Mapping[str, tuple[float, str]]) -> Reading:
        """Sort a result's measurements for the eye."""
        return plain_reading(measurements)

    def offers(self) -> Sequence[Offer]:
        """What is at hand without being sent; asked each time the files are shown."""
        return ()

    def more(self, job: JobView, scene: Scene) -> Markup:
        """What this tab adds to a finished job; nothing here."""
        return Markup("")

    @property
    def limits(self) -> str:
        """What may be dropped here, in a few words."""
        names = [suffix.lstrip(".").upper() for suffix in self.named]
        rest = f" and {len(names) - 8} more" if names[8:] else ""
        return f"{', '.join(names[:8])}{rest}" if names else "Any file"

    def build(self, studio: Studio, inbox: Inbox, models: ModelChoices) -> None:
        """Make the components; call inside the tab's Blocks context."""
        settings = studio.settings
        with gr.Row(elem_classes="ns-layout", equal_height=False):
            with gr.Column(scale=0, min_width=380, elem_classes="ns-left"):
                self.drop = gr.File(
                    file_count="multiple",
                    label=f"Add one or many {self.noun}s",
                    show_label=False,
                    height=112,
                    elem_id=f"drop-{self.id}",
                    elem_classes="ns-drop",
                )
                gr.HTML(
                    f'<p class="ns-note">{self.limits}; up to {settings.max_upload_mb} MB each</p>',
                    apply_default_css=False,
                )
                self.more_ways_in(settings)
                example = self.example
                self.files = FilesPanel(
                    self.id, inbox, self.look, example.name if example is not None else "",
                    credit=self.credit, listen=self.listen, offers=self.offers,
                    noun="model" if self.models else "file", note=self.note,
                )  # fmt: skip
                with gr.Row(visible=not settings.shared, elem_classes="ns-path"):
                    self.path = gr.Textbox(
                        label=self.in_place,
                        placeholder=self.place,
                        scale=1,
                        elem_id=f"path-{self.id}",
                        info="Read where it is; nothing is copied or changed",
                        submit_btn="Add",
                    )
                self.choice = (gr.Radio if len(self.engines) <= _IN_SIGHT else gr.Dropdown)(
                    choices=[(engine.title, engine.id) for engine in self.engines],
                    value=self.engines[0].id,
                    label="Method",
                    visible=len(self.engines) > 1,
                    elem_id=f"method-{self.id}",
                )
                self.forms = [self._form(one, models, settings.shared) for one in self.engines]
                self.presets = PresetsPanel(self.id, self.engines)
                self.run = gr.Button(
                    "Run", variant="primary", size="lg", elem_id=f"run-{self.id}",
                    elem_classes="ns-run",
                )  # fmt: skip
            with gr.Column(scale=1, min_width=320, elem_classes="ns-right"):
                self.beside = self.build_beside(inbox)
                self.result = ResultPanel(
                    self.id, self.empty, self.read, icon=self.icon, more=self.more,
                    sides=self.sides,
                )  # fmt: skip

    @property
    def named(self) -> list[str]:
        """Suffixes in the order in which people are told them."""
        first = [suffix for suffix in self.familiar if suffix in self.suffixes]
        return [*first, *(suffix for suffix in self.suffixes if suffix not in first)]

    def more_ways_in(self, settings: Settings) -> None:
        """Make what stands below the drop zone; nothing here."""

    def _form(self, engine: type[Engine], models: ModelChoices, shared: bool) -> EngineForm:
        with gr.Column(visible=engine is self.engines[0], elem_classes="ns-form") as group:
            gr.HTML(
                '<p class="ns-note"></p>',
                html_template='<p class="ns-note">{{summary}}</p>',
                apply_default_css=False,
                summary=engine.summary,
            )
            form = Form(
                engine.id, engine.Params, models,
                shared=shared, first=self.first, only_with=self.only_with,
            )  # fmt: skip
            return EngineForm(engine, form, group)

    def shown_group(self, engine_id: str) -> list[gr.Column]:
        """Updates that show the controls of the chosen engine alone."""
        return [gr.Column(visible=one.engine.id == engine_id) for one in self.forms]

    @property
    def controls(self) -> list[Component]:
        """Controls of all engines, in order."""
        return [control for one in self.forms for control in one.form.controls]

    def chosen_params(self, engine_id: str, values: Sequence[Any]) -> dict[str, Any]:
        """Parameters of one engine from the values of all `controls`.

        Raises:
            UserError: the tab has no such engine, or a setting cannot be used.
        """
        start = 0
        for one in self.forms:
            count = len(one.form.controls)
            if one.engine.id == engine_id:
                return one.form.checked(one.engine.Params, values[start : start + count])
            start += count
        raise UserError("Choose a method first")

    def arrange(
        self, chosen: Sequence[Chosen], params: dict[str, Any], scene: Scene
    ) -> tuple[Sequence[Chosen], dict[str, Any]]:
        """Which of the chosen files are run, and with what; all of them as it is set.

        Raises:
            UserError: something is missing; the sentence is shown.
        """
        return chosen, params

    def submit(self, scene: Scene, inbox: Inbox, engine_id: str, values: Sequence[Any]) -> None:
        """Queue every chosen file as one batch with the same settings.

        Raises:
            UserError: nothing is chosen, a setting is out of bounds, or the queue is full.
        """
        chosen, params = self.arrange(
            inbox.files(scene.session.id, self.id), self.chosen_params(engine_id, values), scene
        )
        if not chosen:
            raise UserError(f"Add a {self.noun} first")
        # A folder may hold what only another method of the tab reads: a camera's JPEG files.
        reads = engine_class(engine_id).suffixes
        chosen = [file for file in chosen if file.path.suffix.lower() in reads] or chosen
        batch = secrets.token_hex(16)
        moved: dict[Path, Path] = {}
        for uploads, paths in _groups(engine_id, chosen):
            items = items_of(engine_id, paths)
            ids = scene.studio.submit(
                scene.owner, scene.session.id, engine_id, items, params,
                uploads=uploads, batch=batch,
            )  # fmt: skip
            if uploads:
                jobs = [scene.studio.job(scene.owner, job_id) for job_id in ids]
                for item, job in zip(items, jobs, strict=True):
                    kept = [file.path for file in job.inputs]
                    moved |= dict(zip(item, kept, strict=True))
        inbox.submitted(scene.session.id, self.id, moved)
        scene.view.coming[self.id] = batch


def _groups(
    engine_id: str, chosen: Sequence[Chosen]
) -> list[tuple[bool | frozenset[Path], list[Path]]]:
    """Files that are submitted at once, in order, and which of them are uploads."""
    if takes_together(engine_class(engine_id)):
        sent = frozenset(file.path for file in chosen if file.upload)
        return [(sent, [file.path for file in chosen])]
    return [
        (uploads, [file.path for file in group])
        for uploads, group in groupby(chosen, key=lambda file: file.upload)
    ]
