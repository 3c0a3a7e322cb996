"""Files that people must not lose: safe names, synced copies, moves that never overwrite."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

MARK = ".noise-studio-"  # everything temporary starts with this, wherever it lies
_UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*]')


def safe_name(name: str) -> str:
    """A file name without folders, control characters or what other systems forbid."""
    clean = _UNSAFE.sub("_", Path(name).name).strip(" .")
    stem, suffix = os.path.splitext(clean)
    return (stem[:120] + suffix[:20]) or "file"


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
    """`name` in `folder`, or `name-2`, ...: the first that is neither there nor `taken`."""
    stem, suffix = os.path.splitext(name)
    number, path = 1, folder / name
    while path in taken or os.path.lexists(path):
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def reveal(staged: Path, final: Path) -> bool:
    """Give a staged file its name in one step, never replacing one; False if the name is taken.

    The staged name stays (or not, where links are unknown) until `settle`; until then `retract`
    can tell our file from a stranger's of the same name.
    """
    try:
        os.link(staged, final)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (
            errno.EPERM,
            errno.ENOTSUP,
            errno.EMLINK,
            errno.ENOSYS,
            errno.EACCES,
        ):
            raise
        try:  # no hard links here (exFAT, some network shares): hold the name, then move over it
            os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        os.replace(staged, final)
    sync_folder(final.parent)
    return True


def retract(staged: Path, final: Path) -> None:
    """Undo a `reveal` that was never recorded; a file that is not ours is left alone."""
    if final.exists():
        moved = not staged.exists()
        placeholder = not moved and final.stat().st_size == 0
        if moved or placeholder or final.samefile(staged):
            final.unlink()
    staged.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a folder and what is in it; nothing happens if it is not there."""
    shutil.rmtree(path, ignore_errors=True)


def tree_bytes(path: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
