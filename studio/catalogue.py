"""Which networks and training recipes there are, without loading them.

Both are known to modules that bring torch, which the page's process never loads and a small machine
takes seconds for; so what they say is written down in assets/catalogue.json, by
`python launch.py docs catalogue`, and held by a test.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "assets" / "catalogue.json"


@dataclass(frozen=True)
class Network:
    """A network that files can be added for, and where its authors' file is published.

    `lacks` names what tells how to install what its files need: "module:function", or "".
    """

    id: str
    title: str
    licence: str
    source: str
    lacks: str

    @property
    def needs(self) -> str:
        """What has to be installed on this machine first, as an advice, or ""."""
        module, _, name = self.lacks.partition(":")
        return str(getattr(import_module(module), name)()) if name else ""


@dataclass(frozen=True)
class Trainable:
    """A recipe of weights."""

    name: str
    title: str


@dataclass(frozen=True)
class Catalogue:
    """What there is."""

    networks: tuple[Network, ...]
    recipes: tuple[Trainable, ...]

    def to_json(self) -> str:
        """As it is written down."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


@lru_cache
def catalogue() -> Catalogue:
    """What is written down."""
    kept = json.loads(FILE.read_text(encoding="utf-8"))
    return Catalogue(
        tuple(Network(**one) for one in kept["networks"]),
        tuple(Trainable(**one) for one in kept["recipes"]),
    )


def found() -> Catalogue:
    """What there is now (this imports torch, and all that is trained)."""
    from engines.training import recipes
    from engines.weights import specs

    return Catalogue(
        tuple(Network(s.id, s.title, s.licence, s.source, _named(s.needs)) for s in specs()),
        tuple(Trainable(name, title) for name, title in recipes().items()),
    )


def _named(needs: Callable[[], str]) -> str:
    return "" if needs.__name__ == "<lambda>" else f"{needs.__module__}:{needs.__name__}"
