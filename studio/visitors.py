"""Whose request it is: a person at this machine, somebody who logged in, or a browser or program.

Strangers are told apart by a random token of 128 bits. A browser gets it as a cookie; a program
sends one of its own making in a header. Whoever has the token is that visitor, so nothing else of
a request (address, name, session id) ever counts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.requests import Request, cookie_parser

from engines.base import UserError
from studio.config import LOCAL

if TYPE_CHECKING:
    import gradio as gr

    from studio.config import Settings

COOKIE = "noise_studio_visitor"
KEY = "x-studio-key"  # header of a program
_TOKEN = re.compile(r"[0-9a-f]{32}")
_VARIED = 8  # different digits that a key has at least: "0" * 32 would be somebody's first thought


def visitor_token(cookies: str) -> str | None:
    """The visitor's token in a Cookie header, if it is one of ours by its form."""
    # Read as starlette reads them: http.cookies gives up at the first odd one, which another server
    # on this machine may have set.
    token = cookie_parser(cookies).get(COOKIE, "")
    return token if _TOKEN.fullmatch(token) else None


def program_token(key: str) -> str:
    """The token that a program's key stands for: the key itself.

    Raises:
        UserError: it could be guessed.
    """
    token = key.strip().lower()
    if not _TOKEN.fullmatch(token) or len(set(token)) < _VARIED:
        raise UserError(
            "A key is 32 random hexadecimal digits; make one with: openssl rand -hex 16"
        )
    return token


class Visitors:
    """Says whose request it is: "local", "user:<name>" behind a login, else the cookie's token."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def of_event(self, request: gr.Request) -> str:
        """Owner behind a page event or an API call.

        Raises:
            UserError: nobody can be told from this request.
        """
        owner = self._owner(request.username, request.cookies.get(COOKIE, ""))
        if self._settings.zero_gpu:
            from studio.jobs.zero import remember

            remember(owner)
        return owner

    def of_request(self, request: Request) -> str:
        """Owner behind a plain HTTP request.

        Raises:
            UserError: nobody can be told from this request.
        """
        app = request.app
        names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
        tokens = [request.cookies[name] for name in names if name in request.cookies]
        username = next((app.tokens[token] for token in tokens if token in app.tokens), None)
        return self._owner(username, request.cookies.get(COOKIE, ""))

    def _owner(self, username: str | None, token: str) -> str:
        if self._settings.auth:
            if not username:
                raise UserError("You are not logged in; reload the page and log in")
            return f"user:{username}"
        if not self._settings.shared:
            return LOCAL
        if not _TOKEN.fullmatch(token):
            raise UserError("This browser keeps no cookies; allow them for this page and reload")
        return token
