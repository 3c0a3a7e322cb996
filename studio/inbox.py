"""The files that a person has chosen on a tab and not yet run, kept per session.

Uploads leave Gradio's cache at once (anybody with the address could read it there) and wait inside
the session's own upload folder; files chosen in place are only named. The list survives a reload
and a restart, and goes when the session is deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.base import UserError
from studio.folders import files_below, is_model, models_in, tree_facts
from studio.unpack import no_model
from studio.workspace import printable, remove_tree, safe_name, uploads_lock

_FOLDER = "chosen"
_TAB = re.compile(r"[a-z0-9-]{1,40}")


@dataclass(frozen=True)
class Chosen:
    """One chosen file; `upload` while it waits here to be moved to its job."""

    path: Path
    upload: bool
    bytes: int

    @property
    def key(self) -> str:
        """Names the file to the page without telling its folder."""
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]


class Inbox:
    """Chosen files of all sessions below `root` (the studio's upload folder)."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def files(self, session_id: str, tab: str) -> list[Chosen]:
        """What is chosen, in the order in which it was; files that are gone are left out."""
        return [file for file in self._read(session_id, tab) if file.path.exists()]

    def add_uploads(self, session_id: str, tab: str, paths: Iterable[Path]) -> None:
        """Move uploaded files out of Gradio's cache into the session's folder.

        Raises:
            UserError: a file is no longer there, or the disk is full; those before it are kept.
        """
        with uploads_lock(self._root):
            added: list[Chosen] = []
            try:
                for path in paths:
                    added.append(self._take(session_id, path))
            finally:
                self._change(session_id, tab, lambda files: [*files, *added])

    def _take(self, session_id: str, path: Path) -> Chosen:
        target = self._folder(session_id) / secrets.token_hex(6) / safe_name(path.name)
        try:
            target.parent.mkdir(parents=True)
            shutil.move(path, target)
            size = target.stat().st_size
        except OSError as error:
            remove_tree(target.parent)
            raise UserError(
                f"{printable(path.name)} could not be kept; free some disk space and send it again"
            ) from error
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
        return Chosen(target, upload=True, bytes=size)

    def add_in_place(
        self,
        session_id: str,
        tab: str,
        typed: str,
        suffixes: Sequence[str],
        *,
        models: bool = False,
    ) -> None:
        """Add a file, or all files of a folder that end in one of `suffixes`, where they are.

        With `models` a folder that is a model is one item, and a folder of models holds several.

        Raises:
            UserError: there is nothing of that kind at that path.
        """
        try:
            path = Path(typed.strip().strip("'\"")).expanduser()
            if not typed.strip() or not path.exists():
                raise FileNotFoundError
            path = path.resolve()
            found = _found(path, models)
        except PermissionError as error:
            raise UserError(
                f"This folder may not be read; change its permissions: {typed.strip()}"
            ) from error
        except (OSError, RuntimeError, ValueError) as error:  # too long, no such user, no text
            raise UserError(
                f"There is nothing at this path; check it: {typed.strip() or '(empty)'}"
            ) from error
        wanted = [p for p in found if p.is_dir() or p.suffix.lower() in suffixes]
        if not wanted and path.is_dir() and not models:  # they may lie in folders of their own
            below = (p for p in files_below(path) if p.suffix.lower() in suffixes)
            wanted = [p for p in below if p.is_file()]
        if not wanted and models:
            raise UserError(no_model(printable(path.name)))
        if not wanted:
            raise UserError(f"No file that can be read here is in this place: {path.name}")
        self.add_known(session_id, tab, wanted)

    def add_known(self, session_id: str, tab: str, paths: Sequence[Path]) -> None:
        """Add files and model folders where they are, each once.

        Raises:
            UserError: a folder holds more files than a model has, or the disk is full.
        """
        added = [Chosen(p, upload=False, bytes=_bytes(p)) for p in paths]

        def together(files: list[Chosen]) -> list[Chosen]:
            known = {file.path for file in files}
            return [*files, *(file for file in added if file.path not in known)]

        with uploads_lock(self._root):
            self._change(session_id, tab, together)

    def remove(self, session_id: str, tab: str, key: str | None = None) -> None:
        """Take one file off the list, or all of them; uploads that wait here are deleted."""
        gone: list[Chosen] = []

        def without(files: list[Chosen]) -> list[Chosen]:
            gone.extend(file for file in files if key is None or file.key == key)
            return [file for file in files if file not in gone]

        with uploads_lock(self._root):
            self._change(session_id, tab, without)
            for file in gone:
                if file.upload:
                    remove_tree(file.path.parent)

    def submitted(self, session_id: str, tab: str, moved: Mapping[Path, Path]) -> None:
        """After a run: uploads are named where their job keeps them, so they can be run again."""

        def renamed(files: list[Chosen]) -> list[Chosen]:
            return [
                Chosen(moved[file.path], upload=False, bytes=file.bytes)
                if file.path in moved
                else file
                for file in files
            ]

        with uploads_lock(self._root):
            self._change(session_id, tab, renamed)
            for old in moved:
                if old.parent.parent == self._folder(session_id):
                    remove_tree(old.parent)

    def sweep(self, used: Container[Path]) -> None:
        """Remove what a crash left: uploads that are on no list and belong to no job.

        Args:
            used: folders of the files that jobs take. The caller holds `uploads_lock`.
        """
        for folder in self._root.glob("*/*"):
            if folder.name != _FOLDER and folder not in used:
                remove_tree(folder)
        for waiting in self._root.glob(f"*/{_FOLDER}"):
            lists = sorted(waiting.glob("*.json"))
            listed = {file.path.parent for one in lists for file in _entries(one)}
            for entry in waiting.iterdir():
                if entry.is_dir() and entry not in listed:
                    remove_tree(entry)
                elif entry.is_file() and entry not in lists:
                    entry.unlink()

    def _folder(self, session_id: str) -> Path:
        return self._root / session_id / _FOLDER

    def _list(self, session_id: str, tab: str) -> Path:
        if not _TAB.fullmatch(tab):
            raise UserError("There is no such tab; reload the page")
        return self._folder(session_id) / f"{tab}.json"

    def _read(self, session_id: str, tab: str) -> list[Chosen]:
        return _entries(self._list(session_id, tab))

    def _change(
        self, session_id: str, tab: str, change: Callable[[list[Chosen]], list[Chosen]]
    ) -> None:
        """Write a changed list; the caller holds `uploads_lock`."""
        files = change(self._read(session_id, tab))
        target = self._list(session_id, tab)
        partial = target.with_suffix(".partial")
        entries = [
            {"path": str(file.path), "upload": file.upload, "bytes": file.bytes} for file in files
        ]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(entries), encoding="utf-8")
            os.replace(partial, target)
        except OSError as error:
            raise UserError("The disk is full; free some space and try again") from error


def _found(path: Path, models: bool) -> list[Path]:
    """What a typed path stands for."""
    if path.is_file() or (models and is_model(path)):
        return [path]
    return list(models_in(path)) if models else sorted(p for p in path.iterdir() if p.is_file())


def _bytes(path: Path) -> int:
    return tree_facts(path)[0] if path.is_dir() else path.stat().st_size


def _entries(file: Path) -> list[Chosen]:
    """What a list names; nothing where there is none, or a power cut left it empty."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        return [Chosen(Path(one["path"]), one["upload"], one["bytes"]) for one in entries]
    except (FileNotFoundError, ValueError):
        return []
