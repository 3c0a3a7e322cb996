"""A region of a chosen picture, enlarged at once, before the whole of it is run.

See `engines.superres.preview`, which does it, and `studio.questions` for how it goes first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import registry
from engines.base import UserError
from engines.superres.preview import AFTER, BEFORE, FACTS, PreviewEngine
from studio.forms import fields_of
from studio.inbox import Inbox
from studio.jobs.service import check_params, refuse_local
from studio.jobs.views import NotFound
from studio.questions import Questions, waits

if TYPE_CHECKING:
    from studio.jobs.service import Studio

_PICTURES = (BEFORE, AFTER)
_SECONDS, _SECONDS_SHARED = 600.0, 60.0  # that one region may take; others may be waiting


@dataclass(frozen=True)
class Region:
    """What there is of a region.

    Attributes:
        state: of the job.
        error: why there will be none.
        ahead: whether other work is being done first.
        text: what is being done now.
        share: how much of it, from 0 to 1.
        found: once it is done: left and top in the picture, its size as "from" and "to" (width and
            height), seconds it took, and seconds that the whole picture would take ("whole").
    """

    state: str
    error: str
    ahead: bool
    text: str = ""
    share: float = 0.0
    found: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Previews:
    """Regions of all owners; every call takes the owner."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._inbox = Inbox(studio.settings.uploads)
        self._questions = Questions(studio, PreviewEngine.id)

    def picture(self, owner: str, session: str, tab: str, key: str) -> Path:
        """A picture that the owner has chosen on a tab.

        Raises:
            NotFound: it is not there, or somebody else's.
        """
        if session in [one.id for one in self._studio.sessions(owner)]:
            for file in self._inbox.files(session, tab):
                if file.key == key:
                    return file.path
        raise NotFound("That picture is no longer chosen")

    def ask(self, owner: str, session: str, tab: str, key: str, wanted: Mapping[str, Any]) -> str:
        """Have a region enlarged; returns its id.

        Args:
            owner: whose picture it is.
            session: a session of the owner's.
            tab: where the picture is chosen.
            key: names it, see `Chosen.key`.
            wanted: `engine`; `values`, what the controls of its form hold, by name; `left` and
                `top` of the region, or neither for the place of most detail; its `size`.

        Raises:
            NotFound: there is no such picture of the owner's.
            UserError: a setting cannot be used.
        """
        path = self.picture(owner, session, tab, key)
        engine_id, values = str(wanted.get("engine", "")), wanted.get("values")
        engine = registry.engine_class(engine_id)
        if engine.tab != PreviewEngine.tab or engine_id in registry.aside_ids():
            raise UserError("Only methods of this tab can enlarge a region")
        given = values if isinstance(values, dict) else {}
        settings, _, _ = check_params(
            engine_id,
            {one.name: one.read(given[one.name]) for one in fields_of(engine.Params)
             if one.name in given},
        )  # fmt: skip
        shared = self._studio.settings.shared
        if shared:
            refuse_local(engine_id, settings)
        params = {
            "engine": engine_id, "settings": settings,
            "seconds": _SECONDS_SHARED if shared else _SECONDS,
            **{name: wanted[name] for name in ("left", "top", "size") if name in wanted},
        }  # fmt: skip
        return self._questions.ask(owner, session, [path], params)

    def look(self, owner: str, asked: str) -> Region:
        """What there is of a region now.

        Raises:
            NotFound: there is no such one of the owner's, or a newer one took its place.
        """
        job, folder = self._questions.find(owner, asked)
        share = job.done / job.total if job.total else 0.0
        found: dict[str, Any] = {}
        if job.state == "done":
            try:
                found = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                raise NotFound("This region is no longer kept; choose it again") from None
        return Region(job.state, job.error or "", waits(job), job.text, share, found)

    def file(self, owner: str, asked: str, name: str) -> Path:
        """`BEFORE` or `AFTER` of a region.

        Raises:
            NotFound: there is no such one of the owner's.
        """
        _, folder = self._questions.find(owner, asked)
        if name not in _PICTURES or not (folder / name).is_file():
            raise NotFound("There is no such picture")
        return folder / name

    def stop(self, owner: str, asked: str) -> None:
        """Stop enlarging.

        Raises:
            NotFound: there is no such one of the owner's.
        """
        self._questions.stop(owner, asked)
