"""Weights that this studio has: those that ship, and those that were added."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db.schema import ModelRow
from engines.base import UserError
from engines.weights import ModelFile, bundled, convert, load, read_model, sha256_of
from studio.config import Settings
from studio.transaction import transaction


class Models:
    """List, add, remove and check weights."""

    def __init__(self, settings: Settings, factory: sessionmaker[Session]) -> None:
        self._folder = settings.models
        self._factory = factory

    def list(self, network: str = "") -> list[ModelFile]:
        """Bundled and added weights, of one network ("raw.yond/snrnet") or one engine ("raw.yond")
        where it is named.

        Files that are gone or were changed beyond recognition are not in it; `check` tells of them.
        """
        found = bundled()
        for row in self._rows():
            state = "official" if row.state == "official" else "yours"
            with suppress(UserError):
                found.append(read_model(Path(row.path), row.id, state))
        return [file for file in found if network in ("", file.network, file.network.split("/")[0])]

    def _rows(self) -> Sequence[ModelRow]:
        with self._factory() as session:
            return session.scalars(select(ModelRow).order_by(ModelRow.added)).all()

    def add(self, source: Path, name: str = "") -> ModelFile:
        """Check a checkpoint against its network and keep it as safetensors; the file itself stays.

        Raises:
            UserError: it cannot be read safely, fits no network, or cannot be kept.
        """
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name or source.stem).strip("-.")[:80] or "model"
        taken = {file.id for file in self.list()}
        model_id, number = stem, 1
        while model_id in taken:
            number += 1
            model_id = f"{stem}-{number}"
        file = self._convert(source, self._folder / f"{model_id}.safetensors")
        with transaction(self._factory) as session:
            session.merge(
                ModelRow(
                    id=file.id, layout=file.network, state=file.state, source=file.source,
                    licence=file.licence, sha256=file.sha256, path=str(file.path), bytes=file.bytes,
                )
            )  # fmt: skip
        return file

    def _convert(self, source: Path, target: Path) -> ModelFile:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return convert(source, target)
        except (OSError, SafetensorError) as error:
            for file in (target, target.with_suffix(".json")):
                file.unlink(missing_ok=True)
                file.with_name(f"{file.name}.partial").unlink(missing_ok=True)
            raise UserError(
                f"{source.name} could not be kept in the studio's folder; free some disk space"
            ) from error

    def remove(self, model_id: str) -> None:
        """Forget added weights and delete the studio's copy of them.

        Raises:
            UserError: there are none of that id, or they ship with the studio.
        """
        if any(file.id == model_id for file in bundled()):
            raise UserError(f"{model_id} ships with the studio and stays; added weights can go")
        with transaction(self._factory) as session:
            row = session.get(ModelRow, model_id)
            if row is None:
                raise UserError(f"There are no weights called {model_id}; `models` lists them")
            path = Path(row.path)
            session.delete(row)
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)

    def check(self) -> Sequence[tuple[str, str]]:
        """(id, "" or what is wrong) of all weights: there, unchanged, and fit for their network."""
        wrong: dict[str, str] = {}
        for row in self._rows():
            if not Path(row.path).is_file():
                wrong[row.id] = "the file is gone; add it again"
            elif sha256_of(Path(row.path)) != row.sha256:
                wrong[row.id] = "the file was changed; add it again"
        found: dict[str, str] = {}
        for file in self.list():
            if file.id not in wrong:
                try:
                    load(file, "cpu")
                    found[file.id] = ""
                except UserError as error:
                    found[file.id] = str(error)
        return [*found.items(), *wrong.items()]
