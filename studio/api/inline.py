"""Small files inside a request, as `data:` URIs: what an agent has that can upload nothing."""

from __future__ import annotations

import base64
import binascii
import secrets
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from engines.base import UserError
from studio.uploads import own_folder, room
from studio.workspace import safe_name

if TYPE_CHECKING:
    from studio.jobs.service import Studio

MOST = 16 * 2**20  # bytes of the URI
_START = "data:"


def is_inline(text: str) -> bool:
    """Whether a text is a data: URI rather than a path."""
    return text.startswith(_START)


def keep_inline(studio: Studio, owner: str, uri: str) -> Path:
    """Write what a URI holds among the owner's uploads.

    Args:
        studio: whose disk it is.
        owner: whose file it is.
        uri: "data:<type>;name=<file name>;base64,<content>"; the name tells the format.

    Raises:
        UserError: it is too large, or no such URI.
    """
    head, comma, content = uri[len(_START) :].partition(",")
    words = [word.strip() for word in head.split(";")]
    names = [unquote(word[5:]) for word in words if word.startswith("name=")]
    if not comma or words[-1] != "base64" or not names:
        raise UserError("A file in a request is written data:TYPE;name=FILE;base64,CONTENT")
    if len(content) > MOST:
        raise UserError(f"A file in a request may have {MOST >> 20} MB; upload larger ones")
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError("The content of a file in a request is no base64") from error
    if len(data) > room(studio, owner):
        studio.limits.refuse_bytes()
    path = own_folder(studio.settings.temporary, owner) / secrets.token_hex(8) / safe_name(names[0])
    try:
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    except OSError as error:
        raise UserError("There is no room for this file here at present") from error
    return path.resolve()
