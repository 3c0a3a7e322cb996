"""Files that people must not lose: safe names, synced copies, moves that never overwrite."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
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
    """One file or folder on its way to a folder of the person's; see `reveal`.

    Attributes:
        staged: temporary name in that folder.
        final: the name that it gets.
        sha256: of its content, by which a file is known again after a crash; a folder is known by
            the empty file of the staged name that lies in it until the job is recorded.
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


def sync_tree(folder: Path) -> None:
    """Make sure that a folder and all that is in it are on the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(place, name))
        sync_folder(Path(place))


def stage(source: Path, folder: Path, mark: str) -> Path:
    """Put `source` synced into `folder` under a temporary name.

    A file is linked where possible, else copied, and stays where it was; a folder is moved, or
    copied to another disk.

    Raises:
        OSError: it does not fit there; nothing of it is left.
    """
    staged = folder / f"{MARK}{mark}"
    remove(staged)
    try:
        if source.is_dir():
            _stage_folder(source, staged)
        else:
            _stage_file(source, staged)
    except OSError:
        remove(staged)
        raise
    return staged


def _stage_file(source: Path, staged: Path) -> None:
    try:
        os.link(source, staged)
    except OSError:
        shutil.copyfile(source, staged)
    sync_file(staged)


def _stage_folder(source: Path, staged: Path) -> None:
    try:
        os.rename(source, staged)
    except OSError:
        for place, _, names in os.walk(source):
            target = staged / Path(place).relative_to(source)
            target.mkdir()
            for name in names:
                shutil.copyfile(Path(place, name), target / name)
    (staged / staged.name).touch()
    sync_tree(staged)


def free_name(folder: Path, name: str, taken: set[Path], *, suffixed: bool = True) -> Path:
    """`name` in `folder`, or `name-2`, `name-3`, ...: the first that is not there nor `taken`.

    A folder's name has no suffix that the number would have to stand before.
    """
    stem, suffix = os.path.splitext(name) if suffixed else (name, "")
    number, path = 1, folder / name
    while path in taken or os.path.lexists(path):
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def reveal(move: Move) -> bool:
    """Give what is staged its name in one step, never replacing anything; False if it is taken.

    A file's staged name stays too (where links are known), and a folder keeps a mark inside, until
    the job is recorded and `settle` removes them; until then `retract` can tell ours from a
    stranger's of the same name.
    """
    if not (_reveal_folder if move.staged.is_dir() else _reveal_file)(move):
        return False
    sync_folder(move.final.parent)
    return True


def _reveal_file(move: Move) -> bool:
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
    return True


def _reveal_folder(move: Move) -> bool:
    try:
        if (
            os.name == "posix"
        ):  # a rename replaces an empty folder there: ours, which holds the name
            move.final.mkdir()
        os.rename(move.staged, move.final)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    return True


def settle(move: Move) -> None:
    """After the job was recorded: what was revealed keeps its final name alone."""
    if move.final.is_dir():
        (move.final / move.staged.name).unlink(missing_ok=True)
    remove(move.staged)


def retract(move: Move) -> None:
    """Undo a `reveal` that was never recorded; what is not ours is left alone."""
    if move.final.is_symlink():
        pass
    elif move.final.is_dir():
        if (move.final / move.staged.name).is_file():
            os.rename(move.final, move.staged)  # killed while it is removed, it is no half folder
        elif move.staged.is_dir() and not any(move.final.iterdir()):
            move.final.rmdir()
    elif move.final.is_file() and _is_ours(move):
        move.final.unlink()
    remove(move.staged)


def _is_ours(move: Move) -> bool:
    if move.staged.is_dir():
        return False
    if move.staged.exists():
        return move.final.samefile(move.staged) or move.final.stat().st_size == 0
    return sha256_of(move.final) == move.sha256


def uploads_lock(uploads: Path) -> FileLock:
    """Held while uploads move between their folder and the rows that name them.

    Clearing up after a crash must not meet an upload that is not recorded yet, here or in another
    process on the same home.
    """
    return FileLock(uploads.with_name(f"{uploads.name}.lock"))


def remove(path: Path) -> None:
    """Remove a file or a folder with what is in it; nothing happens if it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a folder and what is in it; nothing happens if it is not there."""
    shutil.rmtree(path, ignore_errors=True)


def remove_old(folder: Path, seconds: float) -> int:
    """Remove what lies in a folder and was not touched for so long; returns the bytes freed."""
    freed = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            if time.time() - path.stat().st_mtime < seconds:
                continue
        except FileNotFoundError:
            continue
        freed += tree_bytes(path)
        remove_tree(path)
    return freed


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
