"""Files of weights that are sent to the studio: received in pieces, hashed, checked and kept.

They do not go through Gradio, whose limit is made for pictures and whose upload knows no hash; only
the person at this machine may send any.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from engines.base import UserError
from engines.ncnn_pair import together
from engines.weights import ModelFile
from studio.checkpoints import add_checkpoint
from studio.config import Settings
from studio.workspace import printable, remove_tree, safe_name

NOT_HERE = "Weights cannot be added here; run Noise Studio on your own machine"
_TOKEN = re.compile(r"[0-9a-f]{32}")
_HASH = re.compile(r"[0-9a-f]{64}")
_SPARE = 1 << 28  # bytes that stay free


class ModelFiles:
    """Files on their way; each arrival has a folder of its own, gone once it is kept or refused."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.temporary / "models"

    async def receive(
        self, token: str, name: str, length: int, pieces: AsyncIterator[bytes]
    ) -> tuple[str, str]:
        """Take a file in; several that belong together have one token.

        Args:
            token: of the files that came before it, or "".
            name: of the file.
            length: bytes that are announced.
            pieces: what it holds.

        Returns:
            The token, and the file's sha256.

        Raises:
            UserError: others reach this studio, or the disk has no room.
        """
        folder = self._folder(token or secrets.token_hex(16))
        # Twice: the studio keeps a copy of its own beside what is sent.
        if shutil.disk_usage(self._settings.home).free < 2 * length + _SPARE:
            raise UserError(
                f"The disk has no room for {printable(name)}; free {2 * length / 1e9:.1f} GB"
            )
        path = folder / safe_name(name)
        digest = hashlib.sha256()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                async for piece in pieces:
                    file.write(piece)
                    digest.update(piece)
        except OSError as error:
            remove_tree(folder)
            raise UserError(
                f"{printable(name)} could not be kept; free some disk space and send it again"
            ) from error
        except BaseException:  # the page was closed in the middle
            remove_tree(folder)
            raise
        return folder.name, digest.hexdigest()

    def keep(self, token: str, expected: str = "") -> list[ModelFile]:
        """Check what was received and keep it as weights.

        Args:
            token: of the files.
            expected: sha256 that one of them is to have, or "".

        Raises:
            UserError: it is not what was expected, or none that a network here can hold.
        """
        folder = self._folder(token)
        try:
            paths = sorted(folder.iterdir()) if folder.is_dir() else []
            if not paths:
                raise UserError("This file is no longer here; send it again")
            check_hash(paths, expected)
            return [add_checkpoint(self._settings, path) for path in together(paths)]
        finally:
            remove_tree(folder)

    def _folder(self, token: str) -> Path:
        if self._settings.shared:
            raise UserError(NOT_HERE)
        if not _TOKEN.fullmatch(token):
            raise UserError("This file is no longer here; send it again")
        return self._root / token


def check_hash(paths: list[Path], expected: str) -> None:
    """See that one of some files has the sha256 that its source names.

    Raises:
        UserError: none has, or it is no sha256.
    """
    wanted = expected.strip().lower().removeprefix("sha256:").strip()
    if not wanted:
        return
    if not _HASH.fullmatch(wanted):
        raise UserError("A sha256 has 64 digits from 0 to f; copy it whole, or leave it out")
    found: list[str] = []
    for path in paths:
        with path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    if wanted not in found:
        raise UserError(
            f"{printable(paths[0].name)} is not what was expected: its sha256 is {found[0]}; "
            "download it again"
        )
