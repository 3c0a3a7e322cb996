"""Files on their way into the queue: named where they are, or moved in where they were sent."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from engines.base import UserError
from studio.workspace import printable, remove_tree, safe_name, sync_file, uploads_lock


@contextmanager
def taken(
    folder: Path,
    session_id: str,
    items: Sequence[Sequence[Path]],
    uploads: bool | Collection[Path] = False,
) -> Generator[list[list[Path]]]:
    """The items with absolute paths, uploads moved into the session; the block queues them.

    If it fails nothing was taken: the uploads are moved back.

    Args:
        folder: of all uploads.
        session_id: where they go.
        items: the files of each.
        uploads: whether they were sent here, or those that were.

    Raises:
        UserError: the disk is full.
    """
    if not uploads:
        yield [[path.absolute() for path in item] for item in items]
        return
    moved: dict[Path, Path] = {}
    with uploads_lock(folder):
        try:
            for path in [path for item in items for path in item]:
                if uploads is True or path in uploads:
                    moved[path] = _keep(folder / session_id, path)
            yield [[moved.get(path) or path.absolute() for path in item] for item in items]
        except BaseException:
            for path, kept in moved.items():
                shutil.move(kept, path)
                kept.parent.rmdir()
            raise


def _keep(session: Path, path: Path) -> Path:
    folder = session / secrets.token_hex(8)
    kept = folder / safe_name(path.name)
    try:
        folder.mkdir(parents=True)
        shutil.move(path, kept)
        sync_file(kept)
    except OSError as error:
        remove_tree(folder)
        raise UserError(
            f"{printable(path.name)} could not be kept; free some disk space and send it again"
        ) from error
    return kept
