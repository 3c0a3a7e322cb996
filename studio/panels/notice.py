"""One sentence about what the visitor just did: why it did not work, or that it did.

Gradio's own toasts pile up, fade while they are read, and need its queue; this one stays until the
next action or until it is closed.
"""

from __future__ import annotations

from studio.markup import render
from studio.scene import Scene, html_panel


class NoticePanel:
    """Shows nothing while there is nothing to say."""

    name = "notice"

    def __init__(self) -> None:
        """Make the component; call inside a Blocks context."""
        self.component = html_panel("ns-notice", elem_classes="ns-notices")

    def html(self, scene: Scene) -> str:
        """The sentence of now."""
        return render("notice.html", notice=scene.view.notice)
