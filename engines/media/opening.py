"""The first look at a file that a person gave, whatever it should hold."""

from __future__ import annotations

import stat
from pathlib import Path

from engines.base import UserError


def beginning(path: Path, count: int, *, wanted: str, again: str) -> bytes:
    """The first `count` bytes of an ordinary, readable file that is not empty.

    Args:
        path: the file; it is only read.
        count: most bytes to give.
        wanted: what to choose instead of a device or pipe.
        again: how to get the file once more where it is empty.

    Raises:
        UserError: it is missing, no ordinary file, empty, or may not or cannot be read.
    """
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise UserError(f"{path.name} is a folder; choose the files in it")
        if not stat.S_ISREG(kind):  # a pipe would be waited for
            raise UserError(f"{path.name} is no ordinary file; choose {wanted}")
        with path.open("rb") as file:
            start = file.read(count)
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path.name} here; check the path") from error
    except PermissionError as error:
        raise UserError(f"{path.name} may not be read; change its permissions") from error
    except OSError as error:
        raise UserError(f"{path.name} could not be read; check the disk or the card") from error
    if not start:
        raise UserError(f"{path.name} is empty; {again}")
    return start
