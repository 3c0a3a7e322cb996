"""Files that were sent to a tab: those of a zip are added one by one."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from studio.inbox import Inbox
from studio.jobs.service import Studio
from studio.scene import Notice, Scene
from studio.tabs.generic import MethodTab
from studio.tabs.recipes import RecipesTab
from studio.workspace import MARK, remove_tree
from studio.zips import is_packed, opened


def add_sent(
    studio: Studio,
    inbox: Inbox,
    scene: Scene,
    tab: MethodTab | RecipesTab,
    paths: Sequence[Path],
) -> Notice | None:
    """Add files to those chosen on a tab; where it reads no zip, what is in one.

    Returns:
        What to say of the members of zips that were left out.

    Raises:
        UserError: a zip cannot be used or a file not be kept; those before it are.
    """
    packed = [path for path in paths if is_packed(path, tab.suffixes)]
    loose = [path for path in paths if path not in packed]
    if loose:
        inbox.add_uploads(scene.session.id, tab.id, loose)
    said: list[str] = []
    for path in packed:
        folder = path.parent / f"{MARK}{secrets.token_hex(8)}"
        try:
            room = studio.limits.room(scene.owner, studio.storage(scene.owner))
            found = opened(path, folder, tab.suffixes, room)
            inbox.add_uploads(scene.session.id, tab.id, found.files)
        finally:
            remove_tree(folder)
            path.unlink(missing_ok=True)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        said.append(found.said)
    text = "; ".join(one for one in said if one)
    return Notice(text) if text else None
