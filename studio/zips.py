"""A zip of files in place of the files: unpacked safely, and each is then one of its own.

Only what the method reads is unpacked; the rest is named in one sentence. Names keep their folders
below the target, and none leads out of it; nothing is written beyond the size that the archive
states, and that is weighed against archive, disk and what the person may keep beforehand.
"""

from __future__ import annotations

import os
import secrets
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engines.base import UserError
from studio.limits import LimitReached
from studio.unpack import BROKEN_ZIP, UNPACKED, is_inside, is_plain, refuse_bombs
from studio.workspace import MARK, free_name, printable, remove_old, remove_tree, safe_name

_MOST = 1000  # files of one archive, as of one upload
_NAMED = 5  # of those left out
_PIECE = 1 << 20
_KEPT = 7 * 24 * 3600.0  # seconds since somebody asked for it


@dataclass(frozen=True)
class Opened:
    """What came out of an archive: files, and what to say of the rest ("" where there is none)."""

    files: tuple[Path, ...]
    said: str


def is_packed(path: Path, suffixes: Sequence[str]) -> bool:
    """Whether a file is a zip to be unpacked, where files that end in `suffixes` are read."""
    return path.suffix.lower() == ".zip" and bool(suffixes) and ".zip" not in suffixes


def opened(archive: Path, folder: Path, suffixes: Sequence[str], most: float) -> Opened:
    """Unpack the files of a zip that end in one of `suffixes` into a folder.

    Args:
        archive: the zip.
        folder: made here; nothing of it is left if this fails.
        suffixes: lower-case, with their dots.
        most: bytes that may come out.

    Raises:
        UserError: it is no whole zip, holds nothing that is read, or too much.
    """
    named = printable(archive.name)
    try:
        with zipfile.ZipFile(archive) as packed:
            seen = [
                info for info in packed.infolist() if not info.is_dir() and _shown(info.filename)
            ]
            wanted = [info for info in seen if _is_wanted(info, suffixes)]
            if not wanted:
                raise UserError(f"Nothing in {named} can be read here")
            if len(wanted) > _MOST:
                raise UserError(f"{named} holds more than {_MOST} files; add them in parts")
            total = sum(info.file_size for info in wanted)
            refuse_bombs(archive, total, folder, named)
            if total > most:
                raise LimitReached(
                    f"{named} unpacked is more than there is room for; delete results first"
                )
            files = tuple(_extract(packed, info, folder) for info in wanted)
    except (*BROKEN_ZIP, ValueError) as error:
        remove_tree(folder)
        raise UserError(f"{named} cannot be unpacked; zip its files again") from error
    except OSError as error:
        remove_tree(folder)
        raise UserError(f"{named} could not be unpacked ({error.strerror})") from error
    return Opened(files, _left_out(named, [info for info in seen if info not in wanted]))


def _shown(name: str) -> bool:
    """Whether a person would see it; file managers pack notes of their own."""
    return not any(
        part == "__MACOSX" or (part.startswith(".") and not part.startswith(".."))
        for part in PurePosixPath(name).parts
    ) and PurePosixPath(name).name not in ("Thumbs.db", "desktop.ini")


def _is_wanted(info: zipfile.ZipInfo, suffixes: Sequence[str]) -> bool:
    suffix = PurePosixPath(info.filename).suffix.lower()
    return is_plain(info) and is_inside(info.filename) and suffix in suffixes


def _extract(packed: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path) -> Path:
    *above, name = PurePosixPath(info.filename).parts
    place = folder.joinpath(*map(safe_name, above))
    place.mkdir(parents=True, exist_ok=True)
    target = free_name(place, safe_name(name), set())
    with packed.open(info) as source, target.open("xb") as file:
        while piece := source.read(_PIECE):
            file.write(piece)
    return target


def _left_out(named: str, rest: Sequence[zipfile.ZipInfo]) -> str:
    if not rest:
        return ""
    names = [printable(PurePosixPath(info.filename).name) for info in rest]
    more = f" and {len(names) - _NAMED} more" if names[_NAMED:] else ""
    return f"Not taken out of {named}, as nothing here reads it: {', '.join(names[:_NAMED])}{more}"


def kept(archive: Path, cache: Path, suffixes: Sequence[str]) -> Opened:
    """The files of a zip on this machine, unpacked into the cache once.

    Raises:
        UserError: see `opened`.
    """
    facts = archive.stat()
    home = cache / UNPACKED
    remove_old(home, _KEPT)
    name = f"files-{facts.st_dev:x}-{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"
    folder = home / name / (safe_name(archive.stem) or "files")
    known = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    if known:
        os.utime(folder.parent)  # its age is the time since somebody asked for it
        return Opened(tuple(known), "")
    partial = home / f"{MARK}{secrets.token_hex(8)}"
    found = opened(archive, partial, suffixes, float("inf"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_tree(folder)
    os.rename(partial, folder)
    return Opened(tuple(folder / path.relative_to(partial) for path in found.files), found.said)
