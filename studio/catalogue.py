"""Which networks and training recipes there are, without loading them here.

Both are known to modules that bring torch, which the page's process never loads; so another process
says what they are, once, and the answer is kept in the cache.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from engines.base import UserError
from studio.config import VERSION, Settings

_SOURCES = ("engines/weights.py", "engines/training/__init__.py")
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Network:
    """A network that files can be added for, and where its authors' file is published."""

    id: str
    title: str
    licence: str
    source: str
    needs: str


@dataclass(frozen=True)
class Trainable:
    """A recipe of weights."""

    name: str
    title: str


@dataclass(frozen=True)
class Catalogue:
    """What there is; empty until it is known."""

    networks: tuple[Network, ...] = ()
    recipes: tuple[Trainable, ...] = ()
    known: bool = False


class Catalogues:
    """Answers at once with what is known, and has the rest found out."""

    def __init__(self, settings: Settings, find: Callable[[], Catalogue] | None = None) -> None:
        self._file = settings.cache / f"catalogue-{_mark()}.json"
        self._find = find or _elsewhere
        self._lock = threading.Lock()
        self._found: Catalogue | None = None
        self._asked = False

    def now(self) -> Catalogue:
        """What is known now."""
        with self._lock:
            if self._found is None and not self._asked:
                self._found = self._kept()
                if self._found is None:
                    self._asked = True
                    threading.Thread(target=self._learn, name="catalogue", daemon=True).start()
            return self._found or Catalogue()

    def _learn(self) -> None:
        try:
            found = self._find()
        except (OSError, RuntimeError, UserError):  # it is asked again when the page is opened anew
            with self._lock:
                self._asked = False
            return
        with self._lock:
            self._found = found
        partial = self._file.with_name(f"{self._file.name}.partial")
        try:
            partial.write_text(json.dumps(asdict(found)), encoding="utf-8")
            os.replace(partial, self._file)
        except OSError:
            partial.unlink(missing_ok=True)

    def _kept(self) -> Catalogue | None:
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            return Catalogue(
                tuple(Network(**one) for one in kept["networks"]),
                tuple(Trainable(**one) for one in kept["recipes"]),
                known=True,
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _mark() -> str:
    """Changes with what the answer depends on."""
    text = VERSION + "".join(f"{(_ROOT / one).stat().st_mtime_ns}" for one in _SOURCES)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _elsewhere() -> Catalogue:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        return pool.submit(read_catalogue).result()


def read_catalogue() -> Catalogue:
    """All networks and recipes (this imports torch)."""
    from engines.training import recipes
    from engines.weights import specs

    return Catalogue(
        tuple(Network(s.id, s.title, s.licence, s.source, s.needs()) for s in specs()),
        tuple(Trainable(name, title) for name, title in recipes().items()),
        known=True,
    )
