"""A zip that somebody sent as a model, unpacked into the cache: no name leads out, no bomb fits."""

from __future__ import annotations

import errno
import lzma
import os
import secrets
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from engines.base import UserError
from studio.folders import MODEL_NAMES, is_model
from studio.workspace import MARK, printable, remove_old, remove_tree, safe_name

# What reading a damaged zip raises besides OSError; RuntimeError: it asks for a password.
BROKEN_ZIP = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, NotImplementedError, EOFError,
)  # fmt: skip
UNPACKED = "unpacked"  # folder in the cache
_MOST = 20_000  # files
_SWELLS, _ANYHOW = 20, 1 << 30  # an archive may hold so many times its size, or so many bytes
_SPARE = 1 << 30  # bytes of the disk that stay free
_PIECE = 1 << 20
_NAMES = {errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EINVAL}  # wrong ones
_KEPT = 7 * 24 * 3600.0  # seconds since somebody asked for it


def unpacked(
    archive: Path,
    name: str,
    cache: Path,
    check: Callable[[], None],
    say: Callable[[float, float], None] = lambda done, total: None,
) -> Path:
    """The model folder that a zip holds, at its root or in its one folder.

    It is kept in the cache, for the next job on the same archive.

    Args:
        archive: the zip.
        name: names its content (and its owner), so that no two share a folder.
        cache: the studio's folder of what can be made again.
        check: called for each piece; what it raises ends the work.
        say: told how many of how many bytes are unpacked.

    Raises:
        UserError: it is no zip, holds no model, or does not fit on the disk.
    """
    home = cache / UNPACKED / name
    if not home.is_dir():
        _unpack(archive, home, check, say)
    os.utime(home)  # its age is the time since somebody asked for it
    [folder] = home.iterdir()
    return folder


def _unpack(
    archive: Path, home: Path, check: Callable[[], None], say: Callable[[float, float], None]
) -> None:
    named = printable(archive.name)
    remove_old(home.parent, _KEPT)
    partial = home.with_name(f"{MARK}{secrets.token_hex(8)}")
    # It is called as the archive is, which is how people know it.
    inside = partial / (safe_name(archive.stem) or "model")
    try:
        with zipfile.ZipFile(archive) as packed:
            members = model_members(packed, named)
            total = sum(info.file_size for info in members.values())
            refuse_bombs(archive, total, home, named)
            inside.mkdir(parents=True)
            done = 0
            for path, info in members.items():
                target = inside.joinpath(*PurePosixPath(path).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(info) as source, target.open("xb") as file:
                    while piece := source.read(_PIECE):
                        check()
                        file.write(piece)
                        done += len(piece)
                        say(done, total)
        if not is_model(inside):
            raise UserError(no_model(named))
        os.rename(partial, home)
    except (*BROKEN_ZIP, ValueError) as error:
        raise UserError(f"{named} cannot be unpacked; zip the model's folder again") from error
    except OSError as error:
        if error.errno not in _NAMES:
            raise
        raise UserError(
            f"{named} holds names that no folder takes; zip the model's folder again"
        ) from error
    finally:
        remove_tree(partial)


def model_members(packed: zipfile.ZipFile, named: str) -> dict[str, zipfile.ZipInfo]:
    """Name from the model's folder -> member, for the files of the model in an archive.

    Raises:
        UserError: there is no model in it, more than one, or too many files.
    """
    files = {
        info.filename: info
        for info in packed.infolist()
        if not info.is_dir() and is_plain(info) and is_inside(info.filename)
    }
    if len(files) > _MOST:
        raise UserError(f"{named} holds more than {_MOST} files; zip a model's own folder")
    configs = [PurePosixPath(name) for name in files if PurePosixPath(name).name in MODEL_NAMES]
    depth = min((len(path.parts) for path in configs), default=0)
    roots = list({path.parent for path in configs if len(path.parts) == depth})
    if len(roots) != 1:
        raise UserError(no_model(named) if not roots else f"{named} holds more than one model")
    start = "" if str(roots[0]) == "." else f"{roots[0]}/"
    return {name[len(start) :]: info for name, info in files.items() if name.startswith(start)}


def no_model(named: str) -> str:
    """What is wrong with a folder or archive without a model."""
    return f"There is no model in {named}; it has to hold config.json and safetensors files"


def is_plain(info: zipfile.ZipInfo) -> bool:
    """Whether a member is a file rather than a link or device."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    return kind in (0, stat.S_IFREG)


def is_inside(name: str) -> bool:
    """Whether a member's name stays in the folder and is one that a person sees."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    strange = name.startswith("/") or "\\" in name or ":" in name or "\0" in name
    return bool(parts) and not hidden and not strange


def refuse_bombs(archive: Path, total: int, home: Path, named: str) -> None:
    """See that `total` bytes out of an archive are likely and fit where `home` will be.

    Raises:
        UserError: they are not, or do not.
    """
    if total > max(_ANYHOW, _SWELLS * archive.stat().st_size):
        raise UserError(f"{named} would grow to {total / 1e9:.1f} GB; zip its files again")
    home.parent.mkdir(parents=True, exist_ok=True)
    if total > shutil.disk_usage(home.parent).free - _SPARE:
        raise UserError(
            f"{named} needs {total / 1e9:.1f} GB unpacked, which the disk does not have; free some"
        )
