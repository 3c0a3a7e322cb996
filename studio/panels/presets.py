"""Settings with a name, on each tab: apply one, keep those that are set now, rename, delete.

One of them may be what the tab begins with; each goes out as a file and comes in from one.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from engines.base import Engine
from studio.markup import render
from studio.scene import Scene, html_panel


class PresetsPanel:
    """Presets of the engines of one tab; its clicks come with what the form holds."""

    def __init__(self, tab: str, engines: Sequence[type[Engine]]) -> None:
        """Make the component; call inside a Blocks context."""
        self.name = f"presets-{tab}"
        self._tab = tab
        self._titles = {engine.id: engine.title for engine in engines}
        self.component = html_panel(f"ns-presets-{tab}")

    def html(self, scene: Scene) -> str | None:
        """The presets of now."""
        if scene.view.tab != self._tab:
            return None
        mine = [one for one in scene.studio.presets.list(scene.owner) if one.engine in self._titles]
        groups = [
            (title, [one for one in mine if one.engine == engine])
            for engine, title in self._titles.items()
        ]
        chosen = next((one for one in mine if one.id == scene.view.presets.get(self._tab)), None)
        return render(
            "presets.html",
            tab=self._tab,
            groups=[(title, found) for title, found in groups if found],
            chosen=chosen,
            file=f"data:application/json;charset=utf-8,{quote(chosen.to_json())}" if chosen else "",
        )
