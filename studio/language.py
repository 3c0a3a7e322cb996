"""Models to quantize that this studio has at hand, each a folder that can be named by its id.

Those that ship lie in assets/language/<id>/ and, of diffusion, in assets/diffusion/<id>/; those
that were pulled in models/language/<id>/ of the studio's folder. Beside its configs, weights and
tokenizer such a folder may hold studio.json:
`{"title": ..., "source": ..., "licence": ..., "note": ...}`, all of them sentences for people.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engines.base import UserError
from studio.config import Settings
from studio.folders import is_model, tree_facts
from studio.workspace import remove_tree

BUNDLED = Path(__file__).resolve().parents[1] / "assets" / "language"
CARD = "studio.json"
State = Literal["bundled", "pulled"]
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True)
class LanguageModel:
    """One model folder; `note` is a sentence of what to know before its figures are believed."""

    id: str
    path: Path
    title: str
    source: str
    licence: str
    note: str
    state: State

    @property
    def bytes(self) -> int:
        """Bytes of its files."""
        return tree_facts(self.path)[0]

    def to_dict(self) -> dict[str, Any]:
        """As `models --json` lists it."""
        return {
            "id": self.id, "title": self.title, "state": self.state, "path": str(self.path),
            "bytes": self.bytes, "source": self.source, "licence": self.licence, "note": self.note,
        }  # fmt: skip


def pulled_folder(settings: Settings) -> Path:
    """models/language/ of the studio's folder."""
    return settings.models / "language"


def known(settings: Settings) -> list[LanguageModel]:
    """Bundled models, then pulled ones, by id; a pulled one does not hide a bundled one."""
    found: dict[str, LanguageModel] = {}
    places: tuple[tuple[Path, State], ...] = (
        (BUNDLED, "bundled"),
        (BUNDLED.with_name("diffusion"), "bundled"),
        (pulled_folder(settings), "pulled"),
    )
    for folder, state in places:
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            if _ID.fullmatch(path.name) and path.name not in found and is_model(path):
                found[path.name] = _described(path, state)
    return list(found.values())


def find(settings: Settings, model_id: str) -> LanguageModel | None:
    """The known model of that id, or None."""
    return next((model for model in known(settings) if model.id == model_id), None)


def remove(settings: Settings, model_id: str) -> bool:
    """Delete a pulled model; False if there is none of that id.

    Raises:
        UserError: it ships with the studio.
    """
    model = find(settings, model_id)
    if model is None:
        return False
    if model.state == "bundled":
        raise UserError(f"{model_id} ships with the studio and stays; pulled models can go")
    remove_tree(model.path)
    return True


def _described(path: Path, state: State) -> LanguageModel:
    try:
        card = json.loads((path / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        card = None

    def told(name: str) -> str:
        return str(card.get(name) or "") if isinstance(card, dict) else ""

    return LanguageModel(
        path.name, path, told("title") or path.name, told("source"), told("licence"), told("note"),
        state,
    )  # fmt: skip
