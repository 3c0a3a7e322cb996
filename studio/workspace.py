"""Files that people must not lose: safe names, synced copies, moves that never overwrite."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from engines.weights import sha256_of

MARK = ".noise-studio-"  # everything temporary starts with this, wherever it lies
_UNSAFE = re.compile(
    r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*'  # control characters, and what other systems forbid
    "\u200e\u200f\u2028-\u202e\u2066-\u2069"  # what turns the direction of a name around
    "\ud800-\udfff]"  # bytes that were no text
)
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # files on Windows too
_STEM, _SUFFIX = 160, 40  # bytes; systems take 255, and "-2" must fit


@dataclass(frozen=True)
class Move:
    """One file on its way to a folder of the person's; see `reveal`.

    Attributes:
        staged: temporary name in that folder.
        final: the name that it gets.
        sha256: of its content, by which it is known again after a crash.
    """

    staged: Path
    final: Path
    sha256: str


def safe_name(name: str) -> str:
    """A file name without folders, control characters or what other systems forbid."""
    clean = _UNSAFE.sub("_", Path(name).name).strip(" .")
    stem, suffix = os.path.splitext(clean)
    if _DEVICES.fullmatch(stem):
        stem = f"_{stem}"
    return (_cut(stem, _STEM) + _cut(suffix, _SUFFIX)).strip(" .") or "file"


def _cut(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")


def printable(name: str) -> str:
    """A name with "?" for bytes that are no text, for pages and archives."""
    return name.encode(errors="replace").decode()


def sync_file(path: Path) -> None:
    """Make sure that the bytes are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make sure that names in a folder are on the disk (a no-op where folders cannot be opened)."""
    if os.name == "posix":
        sync_file(path)


def stage(source: Path, folder: Path, mark: str) -> Path:
    """Put a synced copy of `source` into `folder` under a temporary name; a link where possible."""
    staged = folder / f"{MARK}{mark}"
    staged.unlink(missing_ok=True)
    try:
        os.link(source, staged)
    except OSError:
        try:
            shutil.copyfile(source, staged)
        except OSError:
            staged.unlink(missing_ok=True)
            raise
    sync_file(staged)
    return staged


def free_name(folder: Path, name: str, taken: set[Path]) -> Path:
    """`name` in `folder`, or `name-2`, `name-3`, ...: the first that is not there nor `taken`."""
    stem, suffix = os.path.splitext(name)
    number, path = 1, folder / name
    while path in taken or os.path.lexists(path):
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def reveal(move: Move) -> bool:
    """Give a staged file its name in one step, never replacing one; False if the name is taken.

    The staged name stays too (where links are known) until the job is recorded; until then
    `retract` can tell our file from a stranger's of the same name.
    """
    try:
        os.link(move.staged, move.final)
    except FileExistsError:
        return False
    except OSError:
        # No hard links here (exFAT, some network shares): hold the name, then move over it.
        try:
            os.close(os.open(move.final, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        os.replace(move.staged, move.final)
    sync_folder(move.final.parent)
    return True


def retract(move: Move) -> None:
    """Undo a `reveal` that was never recorded; a file that is not ours is left alone."""
    if move.final.is_file() and not move.final.is_symlink() and _is_ours(move):
        move.final.unlink()
    move.staged.unlink(missing_ok=True)


def _is_ours(move: Move) -> bool:
    if move.staged.exists():
        return move.final.samefile(move.staged) or move.final.stat().st_size == 0
    return sha256_of(move.final) == move.sha256


def uploads_lock(uploads: Path) -> FileLock:
    """Held while uploads move between their folder and the rows that name them.

    Clearing up after a crash must not meet an upload that is not recorded yet, here or in another
    process on the same home.
    """
    return FileLock(uploads.with_name(f"{uploads.name}.lock"))


def remove_tree(path: Path) -> None:
    """Remove a folder and what is in it; nothing happens if it is not there."""
    shutil.rmtree(path, ignore_errors=True)


def tree_bytes(path: Path) -> int:
    """Bytes of all files under a folder; files may come and go meanwhile."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue
    return total
