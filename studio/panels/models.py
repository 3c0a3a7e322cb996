"""Which weights there are and what they are: bundled, the authors' own, or yours."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from engines.base import UserError
from engines.ncnn_pair import together
from engines.weights import ModelFile
from studio import language
from studio.checkpoints import add_checkpoint
from studio.jobs.service import Studio
from studio.markup import render
from studio.scene import Scene, html_panel
from studio.workspace import remove_tree

TAB = "models"


class ModelsPanel:
    """A plain list, and where nobody else reaches the studio a place to drop a checkpoint."""

    name = "models"

    def __init__(self, studio: Studio) -> None:
        """Make the components; call inside a Blocks context."""
        self._studio = studio
        self.component = html_panel("ns-models")
        with gr.Column(visible=not studio.settings.shared, elem_classes="ns-add-model"):
            self.drop = gr.File(
                file_count="multiple",
                label="Add a checkpoint",
                show_label=False,
                height=96,
                elem_id="drop-models",
                elem_classes="ns-drop",
            )

    def html(self, scene: Scene) -> str | None:
        """The list, made once each time the tab is opened: it takes the files' hashes."""
        if scene.view.tab != TAB:
            scene.view.seen.pop(self.name, None)
            return None
        if self.name in scene.view.seen:
            return None
        return render(
            "models.html",
            models=self._studio.models.list(),
            language=language.known(self._studio.settings),
            own=not self._studio.settings.shared,
        )

    def add(self, uploads: list[Path]) -> list[ModelFile]:
        """Keep uploaded checkpoints as weights; the uploads are deleted.

        Raises:
            UserError: others reach this studio, or a file is none that a network here can hold.
        """
        try:
            if self._studio.settings.shared:
                raise UserError(
                    "Weights cannot be added here; run Noise Studio on your own machine"
                )
            return [add_checkpoint(self._studio.settings, path) for path in together(uploads)]
        finally:
            for path in uploads:
                remove_tree(path.parent)
