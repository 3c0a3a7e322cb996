"""What our own addresses read and answer alike: bodies of JSON, refusals, "there is no such thing".

A refusal is a sentence for a person. Something that is not there and something that is somebody
else's are one answer: a guess must learn nothing.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from engines.base import UserError
from studio.jobs.views import NotFound

FRESH = {"Cache-Control": "no-store"}


async def json_of(request: Request, most: int) -> dict[str, Any]:
    """A request's body as an object; one of up to `most` bytes, an empty one is {}.

    Raises:
        UserError: it is too long, or no object.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise UserError("This is too much at once; send less")
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError("This cannot be read; reload the page")
    return found


def refused(error: UserError) -> Response:
    """Why something cannot be done."""
    if isinstance(error, NotFound):
        return JSONResponse({"error": "There is no such thing here"}, status_code=404)
    return JSONResponse({"error": str(error)}, status_code=422)


def missing() -> Response:
    """A file that is not there, or not whoever's asks."""
    return PlainTextResponse("There is no such file here", status_code=404)
