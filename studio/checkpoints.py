"""Adds a checkpoint in a process of its own.

Reading one takes torch, which the page's process never loads, and a damaged one can end the
library that reads it; then this process is gone, and the page says a sentence.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from db.database import close_database, open_database
from engines.base import UserError
from engines.weights import ModelFile
from studio.config import Settings
from studio.models import Models
from studio.workspace import printable


def add_checkpoint(settings: Settings, source: Path) -> ModelFile:
    """See `Models.add`; the file itself stays.

    Raises:
        UserError: it cannot be read safely, fits no network, or cannot be kept.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        try:
            return pool.submit(_add, settings, source).result()
        except BrokenProcessPool as error:
            raise UserError(
                f"{printable(source.name)} cannot be read; it is damaged, or too large for the "
                "memory of this machine"
            ) from error


def _add(settings: Settings, source: Path) -> ModelFile:
    factory = open_database(settings.url)
    try:
        return Models(settings, factory).add(source)
    finally:
        close_database(factory)
