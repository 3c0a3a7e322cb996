"""The model card of an exported folder: what it is, how it was made and loads, how good it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.quantize.folder import ModelFolder

_LICENCE_FILES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*\n", re.DOTALL)


@dataclass(frozen=True)
class CardLine:
    """One quantized layer.

    Attributes:
        name: of its module.
        bits: stored bits a weight, everything counted.
        error: relative error of its output (or of its weight, where no data was used), 0 to 1.
    """

    name: str
    bits: float
    error: float


@dataclass(frozen=True)
class Card:
    """What the card says besides what the folder itself shows.

    Attributes:
        source: name of the model that was quantized.
        method: name of the method for people, "AWQ".
        settings: setting -> value, as text.
        figures: figure -> value, as text, such as "Perplexity" -> "15.2 (original 13.3)".
        layers: the quantized layers in order.
        notes: plain sentences.
        licence: of the source; "" asks the source's own card and licence file.
    """

    source: str
    method: str
    settings: Mapping[str, str]
    figures: Mapping[str, str]
    layers: Sequence[CardLine]
    notes: Sequence[str] = ()
    licence: str = ""


def licence_of(folder: ModelFolder) -> str:
    """The licence that a model folder names in its own card, or ""."""
    card = folder.path / "README.md"
    if card.is_file():
        front = _FRONT.match(card.read_text(encoding="utf-8", errors="replace"))
        found = re.search(r"^license:\s*(\S.*?)\s*$", front[1], re.MULTILINE) if front else None
        if found:
            return found[1].strip("'\"")
    return ""


def licence_files(folder: Path) -> list[Path]:
    """The licence's text and what goes with it."""
    found = {path for pattern in _LICENCE_FILES for path in folder.glob(pattern)}
    return sorted(path for path in found if path.is_file())


def render(card: Card, source: ModelFolder, title: str, loading: str, folder: str) -> str:
    """The text of README.md.

    Args:
        card: what the engine knows.
        source: the folder that was quantized.
        title: name of the format.
        loading: what loads it, and how.
        folder: name of the exported folder.
    """
    licence = card.licence or licence_of(source)
    front = ["---", *([f"license: {licence}"] if licence else []), "library_name: transformers"]
    front += ["pipeline_tag: text-generation", "tags:", "- quantized", "---"]
    named = licence or "not named by the source; ask whoever published it"
    texts = ", ".join(path.name for path in licence_files(source.path))
    parts = [
        "\n".join(front),
        f"# {folder}",
        f"{card.source} ({source.architecture}), quantized by {card.method} with Noise Studio and "
        f"stored as {title}.",
        f"Licence of the source: {named}." + (f" Its text is in {texts}." if texts else ""),
        *(["\n".join(f"- {note}" for note in card.notes)] if card.notes else []),
        "## Figures",
        _table(("Figure", "Value"), list(card.figures.items())),
        "## Loading",
        loading,
        "## Settings",
        _table(("Setting", "Value"), list(card.settings.items())),
        "## Layers",
        "Bits a weight count scales and whatever else is stored; the error is relative.",
        _table(
            ("Layer", "Bits", "Error"),
            [(line.name, f"{line.bits:.2f}", f"{line.error:.2%}") for line in card.layers],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_cell(c) for c in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
