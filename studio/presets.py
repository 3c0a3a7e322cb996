"""Presets: named values of one engine's parameters, from the database or a JSON file.

A preset's file is `{"format": "noise-studio-preset", "version": 1, "engine": ..., "name": ...,
"params": {...}}`; what stands beside every result, `{"engine": ..., "params": {...}}`, is read as
well.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db.schema import PresetRow
from engines import registry
from engines.base import UserError
from studio.jobs.views import NotFound
from studio.recipes.recipe import named
from studio.transaction import transaction

FORMAT, VERSION = "noise-studio-preset", 1
_MOST = 1000  # of an owner


@dataclass(frozen=True)
class Preset:
    """Named values of an engine; its tab begins with it where it `starts`."""

    id: str
    engine: str
    name: str
    params: dict[str, Any]
    starts: bool = False

    @classmethod
    def of(cls, row: PresetRow) -> Preset:
        """As it is kept."""
        return cls(row.id, row.engine, row.name, dict(row.params), row.starts)

    def to_json(self) -> str:
        """Its file."""
        found = {
            "format": FORMAT, "version": VERSION, "engine": self.engine, "name": self.name,
            "params": self.params,
        }  # fmt: skip
        return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


class Presets:
    """An owner's presets; a name is given once to an engine."""

    def __init__(self, factory: sessionmaker[Session]) -> None:
        self._factory = factory

    def list(self, owner: str) -> list[Preset]:
        """All by engine and name; of two with one name, as older releases kept, the last."""
        query = select(PresetRow).where(PresetRow.owner == owner).order_by(PresetRow.created)
        with self._factory() as session:
            found = {(row.engine, row.name): Preset.of(row) for row in session.scalars(query)}
        return [found[key] for key in sorted(found, key=lambda key: (key[0], key[1].casefold()))]

    def get(self, owner: str, preset_id: str) -> Preset:
        """One preset by its id.

        Raises:
            NotFound: there is none of the owner's.
        """
        for preset in self.list(owner):
            if preset.id == preset_id:
                return preset
        raise NotFound("That preset does not exist any more")

    def find(self, owner: str, name: str, engine: str = "") -> Preset:
        """One preset by its name, and its engine where several have that name.

        Raises:
            NotFound: there is none.
            UserError: several engines have one of that name.
        """
        found = [p for p in self.list(owner) if p.name == name and engine in ("", p.engine)]
        if not found:
            raise NotFound(f"There is no preset called {name}; `presets` lists them")
        if len(found) > 1:
            engines = ", ".join(preset.engine for preset in found)
            raise UserError(f"Several engines have a preset {name} ({engines}); give --engine")
        return found[0]

    def load(self, owner: str, engine_id: str, name: str) -> dict[str, Any]:
        """Parameter values by name; `name` may also be the path of a JSON file.

        Raises:
            UserError: there is no such preset, or the file holds no values of this engine.
        """
        if name.endswith(".json"):
            return _from_file(Path(name), engine_id)
        for preset in self.list(owner):
            if (preset.engine, preset.name) == (engine_id, name):
                return preset.params
        raise UserError(f"There is no preset of {engine_id} by this name: {name}")

    def save(self, owner: str, engine_id: str, name: str, params: dict[str, Any]) -> Preset:
        """Keep values under a name, in the place of those that had it.

        Raises:
            UserError: the name is empty, or too many are kept.
        """
        kept = named(name)
        with transaction(self._factory) as session:
            starts = _forget(session, owner, engine_id, kept)
            if len(session.scalars(_mine(owner)).all()) >= _MOST:
                raise UserError(f"At most {_MOST} presets are kept; delete one first")
            row = PresetRow(owner=owner, engine=engine_id, name=kept, params=params, starts=starts)
            session.add(row)
            session.flush()
            return Preset.of(row)

    def start_with(self, owner: str, preset: Preset, *, on: bool = True) -> None:
        """Let the tab of a preset's engine begin with it, or with none."""
        engines = _of_tab(preset.engine)
        with transaction(self._factory) as session:
            for row in session.scalars(_mine(owner).where(PresetRow.engine.in_(engines))):
                row.starts = on and (row.engine, row.name) == (preset.engine, preset.name)

    def starting(self, owner: str) -> dict[str, Preset]:
        """Engine -> the preset that its tab begins with; of the engines that have one."""
        return {preset.engine: preset for preset in self.list(owner) if preset.starts}

    def rename(self, owner: str, preset: Preset, to: str) -> None:
        """Call a preset something else.

        Raises:
            UserError: the name is empty, or another preset of the engine has it.
        """
        new = named(to)
        if new == preset.name:
            return
        if any((p.engine, p.name) == (preset.engine, new) for p in self.list(owner)):
            raise UserError(f"There is a preset called {new} already; choose another name")
        with transaction(self._factory) as session:
            for row in session.scalars(_called(owner, preset.engine, preset.name)):
                row.name = new

    def remove(self, owner: str, preset: Preset) -> None:
        """Delete a preset; what was made with it stays as it is."""
        with transaction(self._factory) as session:
            _forget(session, owner, preset.engine, preset.name)


def _of_tab(engine_id: str) -> list[str]:
    """The engines that share a tab with one, itself among them."""
    tabs = {one: registry.engine_class(one).tab for one in registry.engine_ids()}
    return [one for one in tabs if tabs[one] == tabs.get(engine_id)] or [engine_id]


def _mine(owner: str) -> Any:
    return select(PresetRow).where(PresetRow.owner == owner)


def _called(owner: str, engine_id: str, name: str) -> Any:
    return _mine(owner).where(PresetRow.engine == engine_id, PresetRow.name == name)


def _forget(session: Session, owner: str, engine_id: str, name: str) -> bool:
    """Delete what has this name; whether its tab began with it."""
    rows: Sequence[PresetRow] = session.scalars(_called(owner, engine_id, name)).all()
    for row in rows:
        session.delete(row)
    return any(row.starts for row in rows)


def from_json(text: str, name: str = "") -> Preset:
    """A preset out of its file's text; `name` is what it is called where the file says nothing.

    Its values are as they stand there; whoever keeps or uses them checks them.

    Raises:
        UserError: it is no preset, or one of a newer studio.
    """
    values = _object(text, "This is no preset; save one with Save as file")
    params = values.get("params")
    if not isinstance(values.get("engine"), str) or not isinstance(params, dict):
        raise UserError("This is no preset; save one with Save as file")
    if values.get("format") == FORMAT and values.get("version") != VERSION:
        raise UserError("This preset is of a newer Noise Studio; update the studio")
    kept = named(str(values.get("name") or name or "Imported"))
    return Preset("", values["engine"], kept, cast("dict[str, Any]", params))


def _from_file(path: Path, engine_id: str) -> dict[str, Any]:
    """A preset's file, what stands beside every result, or bare values."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"This is no readable JSON file; check its path: {path}") from error
    values = _object(
        text, f"A preset is a JSON object of parameters, and this file is none: {path}"
    )
    if values.get("engine", engine_id) != engine_id:
        raise UserError(f"This preset is one of {values['engine']}, not of {engine_id}: {path}")
    return dict(values.get("params", {k: v for k, v in values.items() if k != "engine"}))


def _object(text: str, else_said: str) -> dict[str, Any]:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(else_said) from error
    if not isinstance(found, dict):
        raise UserError(else_said)
    return cast("dict[str, Any]", found)
