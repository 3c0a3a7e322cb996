"""The files chosen on a tab, each with what is known of it, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.base import UserError
from studio.inbox import Inbox
from studio.markup import render
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
    """Chosen files of one tab; `facts` says in a few words what a file is."""

    def __init__(self, tab: str, inbox: Inbox, facts: Callable[[Path], Sequence[str]]) -> None:
        """Make the component; call inside a Blocks context."""
        self.name = f"files-{tab}"
        self._tab = tab
        self._inbox = inbox
        self._facts = facts
        self.component = html_panel(f"ns-files-{tab}")

    def html(self, scene: Scene) -> str | None:
        """The list of now; nothing while nothing is chosen."""
        if scene.view.tab != self._tab:
            return None
        files = self._inbox.files(scene.session.id, self._tab)
        shown: list[_Line] = []
        for file in files[:_SHOWN]:
            facts, problem = self._look(file.path)
            shown.append(_Line(file.key, file.path.name, file.bytes, facts, problem))
        return render(
            "files.html",
            tab=self._tab,
            files=files,
            shown=shown,
            total=sum(file.bytes for file in files),
        )

    def _look(self, path: Path) -> tuple[Sequence[str], str]:
        try:
            return self._facts(path), ""
        except UserError as error:
            return (), str(error)
