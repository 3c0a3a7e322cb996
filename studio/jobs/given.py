"""What was made of the examples beforehand, given to whoever asks for just that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from db.schema import new_id
from studio.config import Settings
from studio.jobs.store_examples import ExampleStore
from studio.workspace import remove_tree

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"


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


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
