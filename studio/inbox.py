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
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.base import UserError

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
        return hashlib.sha256(str(self.path).encode()).hexdigest()[:16]


class Inbox:
    """Chosen files of all sessions below `root` (the studio's upload folder)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()

    def files(self, session_id: str, tab: str) -> list[Chosen]:
        """What is chosen, in the order in which it was; files that are gone are left out."""
        return [file for file in self._read(session_id, tab) if file.path.is_file()]

    def add_uploads(self, session_id: str, tab: str, paths: Iterable[Path]) -> None:
        """Move uploaded files out of Gradio's cache into the session's folder.

        Raises:
            UserError: a file is no longer there, or the disk is full.
        """
        added: list[Chosen] = []
        for path in paths:
            target = self._folder(session_id) / secrets.token_hex(6) / path.name
            try:
                target.parent.mkdir(parents=True)
                shutil.move(path, target)
                size = target.stat().st_size
            except OSError as error:
                raise UserError(
                    f"{path.name} could not be kept; free some disk space and send it again"
                ) from error
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
            added.append(Chosen(target, upload=True, bytes=size))
        self._change(session_id, tab, lambda files: [*files, *added])

    def add_in_place(self, session_id: str, tab: str, typed: str, suffixes: Sequence[str]) -> None:
        """Add a file, or all files of a folder that end in one of `suffixes`, where they are.

        Raises:
            UserError: there is nothing of that kind at that path.
        """
        path = Path(typed.strip().strip("'\"")).expanduser()
        if not typed.strip() or not path.exists():
            raise UserError(
                f"There is nothing at this path; check it: {typed.strip() or '(empty)'}"
            )
        path = path.resolve()
        found = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
        wanted = [p for p in found if p.suffix.lower() in suffixes]
        if not wanted:
            raise UserError(f"No file that can be read here is in this place: {path.name}")
        added = [Chosen(p, upload=False, bytes=p.stat().st_size) for p in wanted]

        def together(files: list[Chosen]) -> list[Chosen]:
            known = {file.path for file in files}
            return [*files, *(file for file in added if file.path not in known)]

        self._change(session_id, tab, together)

    def remove(self, session_id: str, tab: str, key: str | None = None) -> None:
        """Take one file off the list, or all of them; uploads that wait here are deleted."""
        gone: list[Chosen] = []

        def without(files: list[Chosen]) -> list[Chosen]:
            gone.extend(file for file in files if key is None or file.key == key)
            return [file for file in files if file not in gone]

        self._change(session_id, tab, without)
        for file in gone:
            if file.upload:
                shutil.rmtree(file.path.parent, ignore_errors=True)

    def submitted(self, session_id: str, tab: str, moved: Mapping[Path, Path]) -> None:
        """After a run: uploads are named where their job keeps them, so they can be run again."""

        def renamed(files: list[Chosen]) -> list[Chosen]:
            return [
                Chosen(moved[file.path], upload=False, bytes=file.bytes)
                if file.path in moved
                else file
                for file in files
            ]

        self._change(session_id, tab, renamed)
        for old in moved:
            if old.parent.is_dir() and old.parent.parent == self._folder(session_id):
                shutil.rmtree(old.parent, ignore_errors=True)

    def _folder(self, session_id: str) -> Path:
        return self._root / session_id / _FOLDER

    def _list(self, session_id: str, tab: str) -> Path:
        if not _TAB.fullmatch(tab):
            raise UserError("There is no such tab; reload the page")
        return self._folder(session_id) / f"{tab}.json"

    def _read(self, session_id: str, tab: str) -> list[Chosen]:
        try:
            entries = json.loads(self._list(session_id, tab).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        return [Chosen(Path(one["path"]), one["upload"], one["bytes"]) for one in entries]

    def _change(
        self, session_id: str, tab: str, change: Callable[[list[Chosen]], list[Chosen]]
    ) -> None:
        with self._lock:
            files = change(self._read(session_id, tab))
            target = self._list(session_id, tab)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(".partial")
            entries = [
                {"path": str(file.path), "upload": file.upload, "bytes": file.bytes}
                for file in files
            ]
            partial.write_text(json.dumps(entries), encoding="utf-8")
            os.replace(partial, target)
