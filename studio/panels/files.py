"""The files chosen on a tab, each with what is known of it, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.inbox import Inbox
from studio.markup import render
from studio.reader import Look
from studio.scene import Scene, html_panel

_SHOWN = 100  # facts are read for what is seen, not for a folder of thousands


@dataclass(frozen=True)
class _Line:
    key: str
    name: str
    bytes: int
    facts: Sequence[str]
    problem: str


class FilesPanel:
    """Chosen files of one tab; `look` says in a few words what a file is."""

    def __init__(
        self, tab: str, inbox: Inbox, look: Callable[[Path], Look], example: str = ""
    ) -> None:
        """Make the component; call inside a Blocks context. `example`: offered while empty."""
        self.name = f"files-{tab}"
        self._tab = tab
        self._inbox = inbox
        self._look = look
        self._example = example
        self.component = html_panel(f"ns-files-{tab}")

    def html(self, scene: Scene) -> str | None:
        """The list of now; nothing while nothing is chosen."""
        if scene.view.tab != self._tab:
            return None
        files = self._inbox.files(scene.session.id, self._tab)
        shown: list[_Line] = []
        for file in files[:_SHOWN]:
            found = self._look(file.path)
            facts = ("reading",) if found.pending else found.facts
            scene.awaited |= found.pending
            shown.append(_Line(file.key, file.path.name, file.bytes, facts, found.problem))
        return render(
            "files.html",
            tab=self._tab,
            files=files,
            shown=shown,
            total=sum(file.bytes for file in files),
            bad=sum(bool(line.problem) for line in shown),
            example=self._example,
        )
