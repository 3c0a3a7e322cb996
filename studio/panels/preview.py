"""What a method makes of a chosen picture, seen before the whole of it is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from studio.inbox import Inbox
from studio.markup import overview_url, region_url, render
from studio.reader import Look
from studio.scene import Scene, html_panel
from studio.workspace import printable

_OFFERED = 100  # pictures to choose from


class PreviewPanel:
    """The pictures chosen on a tab; the browser does the rest (assets/js/region.js)."""

    def __init__(
        self, tab: str, inbox: Inbox, look: Callable[[Path], Look], template: str = "preview.html"
    ) -> None:
        """Make the component; call inside a Blocks context."""
        self._template = template
        self.name = f"preview-{tab}"
        self._tab = tab
        self._inbox = inbox
        self._look = look
        self.component = html_panel(f"ns-preview-{tab}", elem_classes="ns-preview")

    def html(self, scene: Scene) -> str | None:
        """The pictures of now; nothing while none is chosen that can be read."""
        if scene.view.tab != self._tab:
            return None
        pictures: list[dict[str, object]] = []
        for file in self._inbox.files(scene.session.id, self._tab)[:_OFFERED]:
            found = self._look(file.path)
            if found.more:
                place = scene.session.id, self._tab, file.key
                pictures.append({
                    "name": printable(file.path.name),
                    "width": found.more["width"],
                    "height": found.more["height"],
                    "picture": overview_url(*place),
                    "region": region_url(*place),
                })  # fmt: skip
        job = scene.view.open.get(self._tab, "")
        return render(self._template, tab=self._tab, pictures=pictures, job=job)
