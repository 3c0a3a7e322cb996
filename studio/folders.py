"""Folders that count as one thing, as a language model's does: what is in them, and their hash.

Names that begin with a dot belong to file managers, git and hubs' caches, and count for nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from engines.base import UserError
from engines.weights import sha256_of
from studio.workspace import printable

MODEL_NAMES = ("config.json", "model_index.json")
"""Files that make a folder one of a model: a network's, and a diffusion pipeline's."""

_MOST = 20_000  # files; more are no model but somebody's whole disk
_SMALL = 1 << 20  # bytes


def is_model(path: Path) -> bool:
    """Whether a path is the folder of one model, rather than a folder of files or of models."""
    return path.is_dir() and any((path / name).is_file() for name in MODEL_NAMES)


def makes_pictures(model: Path) -> bool:
    """Whether the folder of a model is one of diffusion, by its files alone."""
    if (model / MODEL_NAMES[1]).is_file():
        return True
    try:
        config = json.loads((model / MODEL_NAMES[0]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "_class_name" in config


def files_below(folder: Path) -> list[Path]:
    """All files of a folder and its folders, by their names from there.

    Raises:
        UserError: there are too many for one model.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
        if len(found) > _MOST:
            raise UserError(
                f"{printable(folder.name)} holds more than {_MOST} files; choose a model's own "
                "folder"
            )
    return sorted(found, key=lambda path: os.fsencode(path.relative_to(folder)))


def tree_facts(folder: Path) -> tuple[int, int]:
    """Bytes of a folder's files, and when the newest was changed (ns); they may come and go."""
    size = changed = 0
    for path in files_below(folder):
        try:
            facts = path.stat()
        except OSError:
            continue
        size, changed = size + facts.st_size, max(changed, facts.st_mtime_ns)
    return size, changed


def identity(folder: Path, check: Callable[[], None]) -> tuple[str, int]:
    """What tells one state of an input folder from another: (sha256 in hex, bytes).

    It is of names, sizes and times of all files and of the content of the small ones: reading a
    model of 100 GB takes minutes, and it would be read twice. A change of weights that keeps both
    size and time goes unseen; one of config or tokenizer does not.
    """
    digest, total = hashlib.sha256(), 0
    for path in files_below(folder):
        check()
        facts = path.stat()
        digest.update(_named(folder, path) + b"%d %d\0" % (facts.st_size, facts.st_mtime_ns))
        if facts.st_size < _SMALL:
            digest.update(path.read_bytes())
        total += facts.st_size
    return digest.hexdigest(), total


def content(folder: Path, check: Callable[[], None]) -> tuple[str, int]:
    """Of an output folder: (sha256 in hex of its files' names and their own hashes, bytes).

    Raises:
        ValueError: something in it is no plain file.
    """
    digest, total = hashlib.sha256(), 0
    for path in files_below(folder):
        check()
        if path.is_symlink() or not path.is_file():
            raise ValueError(f"{path} is no plain file")
        digest.update(_named(folder, path) + sha256_of(path).encode())
        total += path.stat().st_size
    return digest.hexdigest(), total


def _named(folder: Path, path: Path) -> bytes:
    return os.fsencode(path.relative_to(folder).as_posix()) + b"\0"


def models_in(folder: Path) -> Iterator[Path]:
    """What a folder of models holds: their folders, and zips of them."""
    for path in sorted(folder.iterdir()):
        if is_model(path) or (path.is_file() and path.suffix.lower() == ".zip"):
            yield path
