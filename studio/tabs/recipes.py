"""The tab of recipes: files at the left, recipes and how they are getting on at the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from engines import registry
from studio.inbox import Inbox
from studio.jobs.service import Studio
from studio.panels.files import FilesPanel
from studio.panels.recipes import RecipesPanel, RunsPanel
from studio.reader import Look
from studio.recipes.book import RecipeBook, read_recipe
from studio.scene import Panel
from studio.settings_actions import TAB

_RECIPE = (".toml", ".json")


class RecipesTab:
    """Files of any kind that a recipe begins with."""

    title = "Recipes"
    id = TAB
    models = False

    def __init__(self) -> None:
        """Nothing is built yet."""
        engines = [registry.engine_class(one) for one in registry.engine_ids()]
        kinds = [engine for engine in engines if "model" not in engine.accepts]
        self.suffixes = tuple(dict.fromkeys(s for engine in kinds for s in engine.suffixes))

    def build(self, studio: Studio, inbox: Inbox) -> None:
        """Make the components; call inside the tab's Blocks context."""
        settings = studio.settings
        self._book = RecipeBook(studio.factory)
        with gr.Row(elem_classes="ns-layout", equal_height=False):
            with gr.Column(scale=0, min_width=380, elem_classes="ns-left"):
                self.drop = gr.File(
                    file_count="multiple", label="Add files, or a recipe", show_label=False,
                    height=112, elem_id=f"drop-{self.id}", elem_classes="ns-drop",
                )  # fmt: skip
                gr.HTML(
                    '<p class="ns-note">RAW files, pictures, sounds, films; or a recipe file '
                    f"(.toml); up to {settings.max_upload_mb} MB each</p>",
                    apply_default_css=False,
                )
                self.files = FilesPanel(self.id, inbox, self.look)
                with gr.Row(visible=not settings.shared, elem_classes="ns-path"):
                    self.path = gr.Textbox(
                        label="Or a file or folder on this machine",
                        placeholder="/home/me/photos/2026-11-20", scale=1,
                        elem_id=f"path-{self.id}", submit_btn="Add",
                        info="Read where it is; nothing is copied or changed",
                    )  # fmt: skip
            with gr.Column(scale=1, min_width=320, elem_classes="ns-right"):
                self.runs = RunsPanel()
                self.recipes = RecipesPanel(studio)

    @property
    def panels(self) -> Sequence[Panel]:
        """What is sent when it changes."""
        return self.files, self.runs, self.recipes

    def look(self, path: Path) -> Look:
        """What a file is by its name; the step that takes it says more."""
        if self.suffixes and path.suffix.lower() not in self.suffixes:
            return Look(problem="No engine reads files of this kind; remove it")
        return Look((path.suffix.lower().lstrip(".").upper() or "file",))

    def take_recipes(self, owner: str, paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
        """Keep the recipes among uploaded files; the other files, and the recipes' names.

        Raises:
            UserError: a file is no recipe.
        """
        rest = [path for path in paths if path.suffix.lower() not in _RECIPE]
        names: list[str] = []
        for path in paths:
            if path not in rest:
                names.append(self._book.save(owner, read_recipe(path)).name)
                path.unlink(missing_ok=True)
        return rest, names
