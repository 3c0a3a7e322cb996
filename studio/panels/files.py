"""The files chosen on a tab, each with what is known of it, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from studio.inbox import Inbox
from studio.markup import chosen_url, render
from studio.reader import Look
from studio.scene import Scene, html_panel
from studio.workspace import printable

_SHOWN = 100  # facts are read for what is seen, not for a folder of thousands


@dataclass(frozen=True)
class _Line:
    key: str
    name: str
    bytes: int
    facts: Sequence[str]
    problem: str
    sound: str
    note: Markup


@dataclass(frozen=True)
class Offer:
    """Something at hand that can be chosen by a click: `key` names it, `text` says what it is."""

    key: str
    title: str
    text: str


def _no_offers() -> Sequence[Offer]:
    return ()


def _no_note(_look: Look) -> Markup:
    return Markup("")


class FilesPanel:
    """Chosen files of one tab; `look` says in a few words what a file is."""

    def __init__(
        self,
        tab: str,
        inbox: Inbox,
        look: Callable[[Path], Look],
        example: str = "",
        *,
        credit: str = "",
        listen: bool = False,
        offers: Callable[[], Sequence[Offer]] = _no_offers,
        noun: str = "file",
        note: Callable[[Look], Markup] = _no_note,
    ) -> None:
        """Make the component; call inside a Blocks context.

        Args:
            tab: id of the tab.
            inbox: the chosen files of all sessions.
            look: says what a file is.
            example: name of the file that is offered while nothing is chosen.
            credit: whose that file is, where its licence wants that said.
            listen: files are sounds that can be played before they are run.
            offers: what is at hand without being sent.
            noun: what one of them is called.
            note: what stands below its facts.
        """
        self.name = f"files-{tab}"
        self._tab = tab
        self._inbox = inbox
        self._look = look
        self._example = example
        self._credit = credit
        self._listen = listen
        self._offers = offers
        self._noun = noun
        self._note = note
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
            name = printable(file.path.name)
            sound = ""
            if self._listen and found.facts:
                sound = chosen_url(scene.session.id, self._tab, file.key, name)
            note = self._note(found)
            shown.append(_Line(file.key, name, file.bytes, facts, found.problem, sound, note))
        names = {line.name for line in shown}
        return render(
            "files.html",
            tab=self._tab,
            noun=self._noun,
            files=files,
            shown=shown,
            total=sum(file.bytes for file in files),
            bad=sum(bool(line.problem) for line in shown),
            example=self._example,
            credit=self._credit,
            offers=[one for one in self._offers() if one.title not in names],
        )
