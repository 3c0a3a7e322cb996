"""Stands before every request: who may come in, what Gradio may be asked, whose files are meant.

Gradio's server can do more than the page needs, among it serving its cache to whoever has an
address and fetching what an address names. Only what the page and the API use gets through.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engines.base import UserError
from studio.config import Settings
from studio.passwords import Attempts, Passwords, basic
from studio.uploads import is_own
from studio.visitors import COOKIE, KEY, Visitors, program_token, visitor_token

_YEAR = 365 * 24 * 3600
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_CHANGING = {"POST", "PUT", "PATCH", "DELETE"}
_BODY = 4 * 2**20  # bytes of what is asked for; files are sent to an address of their own
_UPLOAD = "/gradio_api/upload"
_LONG = {  # what bounds by itself how much it takes
    _UPLOAD, "/studio/session/import", "/studio/models/file", "/studio/mcp",
}  # fmt: skip
_ASKED = re.compile(  # what the page and the API ask of Gradio
    r"/gradio_api/(?:info/?|openapi\.json|config|upload|upload_progress|queue/(?:join|data|status)"
    r"|heartbeat/[^/]+|(?:run|api)/[^/]+/?|call/[^/]+(?:/[^/]+)?/?|startup-events|theme\.css"
    r"|login_check/?|user/?|app_id/?|cancel|reset/?)"
)
_CALLED = re.compile(r"/gradio_api/call/[^/]+/([^/]+)/?")  # what came of a program's call
_CLOSED = re.compile(r"/(?:file|proxy)[=/]|/(?:monitoring|svelte|dev)(?:/|$)")
# Gradio evaluates its templates, hence unsafe-eval; no host but our own may be asked for anything.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
_FRAMES = "; frame-ancestors 'self' https://huggingface.co https://*.hf.space"


class _Refused(Exception):
    """A request that goes no further."""

    def __init__(
        self, status: int, sentence: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        self.answer = PlainTextResponse(sentence, status, headers)


class VisitorMiddleware:
    """Gives each visitor a random token, and refuses what another site's page sends.

    Where only this machine reaches the studio there is one owner and no cookie, but the `Host`
    must be this machine's: a foreign name that was made to point here would otherwise read it.
    """

    def __init__(self, app: ASGIApp, settings: Settings, passwords: Passwords) -> None:
        self.app = app
        self.settings = settings
        self._visitors = Visitors(settings)
        self._passwords = passwords
        self._attempts = Attempts()
        self._programs: dict[str, str] = {}  # user -> token of Gradio's that stands for a login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "websocket":  # nothing here speaks it
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            self._check_site(scope["method"], headers)
            _check_path(scope["path"])
            token = self._identify(scope, headers)
            self._log_in(scope, headers)
            begun = self._begin(scope) if _is_login(scope) else None
            if scope["method"] in _CHANGING and scope["path"] not in _LONG:
                receive = await self._read(scope, receive)
        except _Refused as refused:
            await refused.answer(scope, receive, send)
            return
        secure = headers.get("x-forwarded-proto", scope.get("scheme", "http")) == "https"

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                if begun is not None and message["status"] < 400:
                    self._attempts.right(_address(scope), begun)
                found = MutableHeaders(scope=message)
                found.setdefault("X-Content-Type-Options", "nosniff")
                found.setdefault("Referrer-Policy", "same-origin")
                if found.get("content-type", "").startswith("text/html"):
                    found.setdefault("Content-Security-Policy", _POLICY + _FRAMES)
                if token:
                    found.append("Set-Cookie", _cookie(token, secure=secure))
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                _forget_call(scope)
            await send(message)

        await self.app(scope, receive, answer)

    def _check_site(self, method: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self.settings.shared and _name(host) not in _LOOPBACK | {self.settings.host}:
            raise _Refused(403, "Noise Studio answers only on this machine; open it at 127.0.0.1")
        origin = headers.get("origin")
        if method in _CHANGING and origin is not None:
            here = {host, headers.get("x-forwarded-host", host)}
            if origin.partition("://")[2] not in here:
                raise _Refused(
                    403, "This request comes from another site; open Noise Studio itself"
                )

    def _identify(self, scope: Scope, headers: Headers) -> str:
        """Make sure that a stranger has a token; returns the one that a browser is to keep."""
        if not self.settings.shared or self.settings.auth:
            return ""
        key = headers.get(KEY)
        if key is not None:
            try:
                scope["headers"] = _with_cookie(scope["headers"], COOKIE, program_token(key))
            except UserError as error:
                raise _Refused(401, str(error)) from error
            return ""
        if visitor_token(headers.get("cookie", "")) is not None:
            return ""
        token = secrets.token_hex(16)
        scope["headers"] = _with_cookie(scope["headers"], COOKIE, token)
        return token

    def _log_in(self, scope: Scope, headers: Headers) -> None:
        """A program may send its password with every request, as `curl -u` does."""
        given = basic(headers.get("authorization", "")) if self.settings.auth else None
        if given is None:
            return
        begun = self._begin(scope)
        if not self._passwords(*given):
            raise _Refused(401, "The user or the password is wrong")
        self._attempts.right(_address(scope), begun)
        app = scope["app"]
        token = self._programs.setdefault(given[0], secrets.token_urlsafe(24))
        app.tokens[token] = given[0]
        name = f"access-token-unsecure-{app.cookie_id}"
        scope["headers"] = _with_cookie(scope["headers"], name, token)

    def _begin(self, scope: Scope) -> float:
        """Count a try of a password."""
        wait = self._attempts.wait(_address(scope))
        if wait > 0:
            seconds = str(int(wait) + 1)
            raise _Refused(
                429, f"Too many wrong passwords; try again in {seconds} s", {"Retry-After": seconds}
            )
        return self._attempts.begin(_address(scope))

    async def _read(self, scope: Scope, receive: Receive) -> Receive:
        """Read what is asked for, and see that every file in it is the visitor's own.

        It is read whole, as Gradio would do as well, but only so much of it.
        """
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Refused(400, "The request was broken off")
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > _BODY:
                raise _Refused(413, "This request is too long; send files as uploads")
        files = _files_in(bytes(body)) if scope["path"].startswith("/gradio_api/") else []
        if files:
            self._check_files(scope, files)
        sent = False

        async def again() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        return again

    def _check_files(self, scope: Scope, files: list[str]) -> None:
        try:
            owner = self._visitors.of_request(Request(scope))
        except UserError as error:
            raise _Refused(401, str(error)) from error
        for file in files:
            if not is_own(self.settings.temporary, owner, Path(file)):
                raise _Refused(
                    403, "A file in this request was not uploaded by you; upload it first"
                )


def _check_path(path: str) -> None:
    if _CLOSED.match(path) or (path.startswith("/gradio_api") and not _ASKED.fullmatch(path)):
        raise _Refused(404, "There is no such page here")


def _forget_call(scope: Scope) -> None:
    """Gradio makes a state of a megabyte for every call by a program, and keeps 10 000 of them."""
    found = _CALLED.fullmatch(scope["path"])
    if found is not None:
        states = scope["app"].state_holder
        states.session_data.pop(found[1], None)
        states.time_last_used.pop(found[1], None)


def _is_login(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"].rstrip("/") == "/login"


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _files_in(body: bytes) -> list[str]:
    """Every path of what Gradio would take for a file, at any depth.

    Raises:
        _Refused: the request is no JSON, or too deep to be looked through.
    """
    try:
        found = json.loads(body) if body.strip() else None
    except (ValueError, RecursionError):
        raise _Refused(400, "This request is no JSON") from None
    files: list[str] = []
    left: list[Any] = [found]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            path = one.get("path")
            if isinstance(path, str):
                files.append(path)
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
    return files


def _name(host: str) -> str:
    """Name or address in a Host header, in lower case; "" where there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _with_cookie(
    headers: list[tuple[bytes, bytes]], name: str, value: str
) -> list[tuple[bytes, bytes]]:
    """Headers in which that cookie, and no other of its name, is sent."""
    old = [text for key, text in headers if key == b"cookie"]
    kept = [
        part.strip()
        for part in b";".join(old).split(b";")
        if part.strip() and part.strip().split(b"=")[0].strip() != name.encode()
    ]
    cookies = b"; ".join([*kept, f"{name}={value}".encode()])
    return [*((k, v) for k, v in headers if k != b"cookie"), (b"cookie", cookies)]


def _cookie(token: str, *, secure: bool) -> str:
    # Inside a Space the page is a frame of another site, and only such a cookie comes back.
    rules = "Secure; SameSite=None; Partitioned" if secure else "SameSite=Lax"
    return f"{COOKIE}={token}; Path=/; Max-Age={_YEAR}; HttpOnly; {rules}"
