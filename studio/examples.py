"""Examples that work at once where strangers come: their results are made beforehand.

While a studio starts, each tab's example is queued with the settings that the tab opens with, for
an owner whom nobody is. A visitor who runs the same gets a copy of what came out, in no time and
without a card; with any other setting it is a job like all others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from engines.base import UserError
from studio.config import KEPT
from studio.jobs.requests import check_params
from studio.jobs.service import Studio
from studio.jobs.store_examples import ExampleStore


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
