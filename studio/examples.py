"""Examples that work at once where strangers come: their results are made beforehand.

While a studio starts, each tab's example is queued with the settings that the tab opens with, for
an owner whom nobody is. A visitor who runs the same gets a copy of what came out, in no time and
without a card; with any other setting it is a job like all others.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.schema import new_id
from engines.base import UserError
from studio.config import KEPT
from studio.jobs.requests import check_params
from studio.jobs.store_examples import ExampleStore
from studio.workspace import remove_tree

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from studio.config import Settings
    from studio.jobs.service import Studio

EXAMPLES = Path(__file__).resolve().parents[1] / "assets" / "examples"


class Examples:
    """Gives visitors what was made of the examples."""

    def __init__(self, settings: Settings, factory: sessionmaker[Session]) -> None:
        self._outputs = settings.outputs
        self._store = ExampleStore(factory)

    def take(
        self,
        owner: str,
        session_id: str,
        engine: tuple[str, str],
        params: Mapping[str, Any],
        items: Sequence[Sequence[Path]],
        batch: str | None,
    ) -> str | None:
        """A copy of the result of exactly that, as a job of the owner's; None where there is none.

        Args:
            owner: who asks.
            session_id: a session of theirs.
            engine: its id and version.
            params: all its parameters, checked.
            items: the files of each job that is asked for.
            batch: of the new job.
        """
        if len(items) != 1 or len(items[0]) != 1 or not items[0][0].is_relative_to(EXAMPLES):
            return None
        found = self._store.find(*engine, params, items[0][0])
        folder = self._store.folder(found) if found else None
        if found is None or folder is None or not (self._outputs / folder).is_dir():
            return None
        new = new_id()
        target = self._outputs / session_id / new
        try:
            # Files are never changed once they are there, so a copy may be a second name of one.
            shutil.copytree(self._outputs / folder, target, copy_function=_link)
        except OSError:
            remove_tree(target)
            return None
        if not self._store.give(found, owner, session_id, batch, new, self._outputs):
            remove_tree(target)
            return None
        return new


def prepare(studio: Studio, wanted: Sequence[tuple[str, Path]]) -> list[str]:
    """Queue what was not made yet of (engine, example); returns the ids of the jobs."""
    store = ExampleStore(studio.factory)
    session = studio.open_session(KEPT).id
    queued: list[str] = []
    for engine_id, path in wanted:
        params, version, _ = check_params(engine_id, {})
        found = store.find(engine_id, version, params, path)
        folder = store.folder(found) if found else None
        if folder is None or not (studio.settings.outputs / folder).is_dir():
            try:
                queued += studio.submit(KEPT, session, engine_id, [[path]], params)
            except UserError as error:  # the studio opens all the same
                sys.stderr.write(f"The example {path.name} is not worked out: {error}\n")
    return queued


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
