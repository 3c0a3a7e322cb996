"""The library: everything ever made, and the session that new work goes to.

What is in the library is asked for by the page itself (assets/js/library.js), so that a search, a
selection and a place in a list stay where they are while jobs run.
"""

from __future__ import annotations

from studio.markup import render
from studio.scene import Scene, html_panel

TAB = "library"
ALSO = ("history",)  # what it was called; addresses that people kept still open it


class SessionsPanel:
    """The open session: switch, new, rename, duplicate, export, import, delete."""

    name = "sessions"

    def __init__(self) -> None:
        """Make the component; call inside a Blocks context."""
        self.component = html_panel("ns-sessions")

    def html(self, scene: Scene) -> str | None:
        """The line of now."""
        if scene.view.tab != TAB:
            return None
        return render(
            "sessions.html",
            session=scene.session,
            sessions=scene.studio.sessions(scene.owner),
        )


class LibraryPanel:
    """Never drawn anew: the header says when there is something new to ask for."""

    name = "library"

    def __init__(self) -> None:
        """Make the component; call inside a Blocks context."""
        self.component = html_panel("ns-library")

    def html(self, scene: Scene) -> str | None:
        """The element that does the rest."""
        return None if scene.view.tab != TAB else "<ns-library></ns-library>"
