"""Presets: named values of one engine's parameters, from the database or a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db.schema import PresetRow
from engines.base import UserError


class Presets:
    """An owner's presets."""

    def __init__(self, factory: sessionmaker[Session]) -> None:
        self._factory = factory

    def load(self, owner: str, engine_id: str, name: str) -> dict[str, Any]:
        """Parameter values by name; `name` may also be the path of a JSON file.

        Raises:
            UserError: there is no such preset, or the file holds no values of this engine.
        """
        if name.endswith(".json"):
            return _from_file(Path(name), engine_id)
        query = (
            select(PresetRow)
            .where(PresetRow.owner == owner, PresetRow.engine == engine_id, PresetRow.name == name)
            .order_by(PresetRow.created.desc())
            .limit(1)
        )
        with self._factory() as session:
            row = session.scalar(query)
        if row is None:
            raise UserError(f"There is no preset of {engine_id} by this name: {name}")
        return dict(row.params)

    def save(self, owner: str, engine_id: str, name: str, params: dict[str, Any]) -> None:
        """Keep values under a name; the newest of a name counts."""
        with self._factory.begin() as session:
            session.add(PresetRow(owner=owner, engine=engine_id, name=name, params=params))


def _from_file(path: Path, engine_id: str) -> dict[str, Any]:
    """`{"engine": ..., "params": {...}}`, as the sidecar of every result has it, or bare values."""
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"This is no readable JSON file; check its path: {path}") from error
    if not isinstance(found, dict):
        raise UserError(f"A preset is a JSON object of parameters: {path}")
    values = cast("dict[str, Any]", found)
    if values.get("engine", engine_id) != engine_id:
        raise UserError(f"This preset is one of {values['engine']}, not of {engine_id}: {path}")
    return dict(values.get("params", {k: v for k, v in values.items() if k != "engine"}))
