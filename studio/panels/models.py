"""Which weights there are and what they are: bundled, the authors' own, or yours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engines.weights import ModelFile
from studio.markup import render
from studio.scene import Scene, html_panel

TAB = "models"


class ModelsPanel:
    """A plain list."""

    name = "models"

    def __init__(self, models: Callable[[], Sequence[ModelFile]]) -> None:
        """Make the component; call inside a Blocks context. `models` lists what is installed."""
        self._models = models
        self.component = html_panel("ns-models")

    def html(self, scene: Scene) -> str | None:
        """The list, made once each time the tab is opened: it takes the files' hashes."""
        if scene.view.tab != TAB:
            scene.view.seen.pop(self.name, None)
            return None
        if self.name in scene.view.seen:
            return None
        return render("models.html", models=self._models())
