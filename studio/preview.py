"""What a method makes of a chosen picture, seen before the whole of it is run.

On one tab that is a region, enlarged (`engines.superres.preview`); on another the whole picture
made small, or the training of a network that is looked at by it (`engines.raw.noiser`). See
`studio.questions` for how these go first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import registry
from engines.base import UserError
from engines.raw.noiser.preview import LivePreviewEngine
from engines.raw.noiser.training import WEIGHTS, TrainEngine
from engines.superres.preview import AFTER, BEFORE, FACTS, PreviewEngine
from studio.fields import fields_of
from studio.inbox import Inbox
from studio.jobs.requests import check_params, refuse_local
from studio.jobs.views import JobView, NotFound
from studio.questions import Questions, waits

if TYPE_CHECKING:
    from studio.jobs.service import Studio

_PICTURES = (BEFORE, AFTER)
_BY_TAB = {one.tab: one.id for one in (PreviewEngine, LivePreviewEngine)}  # of methods
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
        found: what the engine says of it; of a region once it is done left and top in the picture,
            its size as "from" and "to" (width and height), seconds it took, and seconds that the
            whole picture would take ("whole").
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
        self._questions = {
            one.id: Questions(studio, one.id)
            for one in (PreviewEngine, LivePreviewEngine, TrainEngine)
        }

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
        """Have a region enlarged, a picture shown or a network trained; returns its id.

        Args:
            owner: whose picture it is.
            session: a session of the owner's.
            tab: where the picture is chosen.
            key: names it, see `Chosen.key`.
            wanted: `engine`, a method's id or `TrainEngine.id`; `values`, what the controls of its
                form hold, by name; of a region `left` and `top`, or neither for the place of most
                detail, and its `size`.

        Raises:
            NotFound: there is no such picture of the owner's.
            UserError: a setting cannot be used.
        """
        path = self.picture(owner, session, tab, key)
        engine_id, values = str(wanted.get("engine", "")), wanted.get("values")
        given = values if isinstance(values, dict) else {}
        shared = self._studio.settings.shared
        if engine_id == TrainEngine.id:
            if shared:
                raise UserError("Networks are trained on a machine of your own, not here")
            return self._questions[engine_id].ask(owner, session, [path], given)
        engine = registry.engine_class(engine_id)
        asked = _BY_TAB.get(engine.tab)
        if asked is None or engine_id in registry.aside_ids():
            raise UserError("This method cannot be looked at before it is run")
        if "video" in engine.accepts:
            raise UserError(f"{engine.title} does not read {path.name}; choose another method")
        settings, _, _ = check_params(
            engine_id,
            {one.name: one.read(given[one.name]) for one in fields_of(engine.Params)
             if one.name in given},
        )  # fmt: skip
        if shared:
            refuse_local(engine_id, settings)
        params = {
            "engine": engine_id, "settings": settings,
            "seconds": _SECONDS_SHARED if shared else _SECONDS,
            **{name: wanted[name] for name in ("left", "top", "size") if name in wanted},
        }  # fmt: skip
        return self._questions[asked].ask(owner, session, [path], params)

    def look(self, owner: str, asked: str) -> Region:
        """What there is of a region now.

        Raises:
            NotFound: there is no such one of the owner's, or a newer one took its place.
        """
        job, folder = self._find(owner, asked)
        share = job.done / job.total if job.total else 0.0
        found: dict[str, Any] = {}
        try:
            found = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            if job.state == "done":
                raise NotFound("This region is no longer kept; choose it again") from None
        return Region(job.state, job.error or "", waits(job), job.text, share, found)

    def file(self, owner: str, asked: str, name: str) -> Path:
        """`BEFORE` or `AFTER` of a region.

        Raises:
            NotFound: there is no such one of the owner's.
        """
        _, folder = self._find(owner, asked)
        if name not in _PICTURES or not (folder / name).is_file():
            raise NotFound("There is no such picture")
        return folder / name

    def stop(self, owner: str, asked: str) -> None:
        """Stop what is being made.

        Raises:
            NotFound: there is no such one of the owner's.
        """
        job, _ = self._find(owner, asked)
        self._questions[job.engine].stop(owner, asked)

    def trained(self, owner: str, asked: str) -> Path:
        """The weights that a training of the owner's made.

        Raises:
            NotFound: there is no such training, or it has not come to its end.
        """
        job, folder = self._find(owner, asked)
        path = folder / WEIGHTS
        if job.engine != TrainEngine.id or not path.is_file():
            raise NotFound("These weights are no longer kept; train again")
        return path

    def _find(self, owner: str, asked: str) -> tuple[JobView, Path]:
        job = self._studio.job(owner, asked)
        questions = self._questions.get(job.engine)
        if questions is None:
            raise NotFound("There is no such question")
        return questions.find(owner, asked)
