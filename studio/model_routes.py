"""Addresses of the Models page: files of weights that are sent, and trainings that are watched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from engines.base import UserError
from studio.answers import FRESH, json_of, missing, refused
from studio.model_files import ModelFiles
from studio.training import Training

if TYPE_CHECKING:
    from studio.jobs.service import Studio
    from studio.visitors import Visitors

_LONGEST = 20_000  # bytes of a question


class ModelRoutes:
    """All below /studio/models/ and /studio/train; each finds the owner first."""

    def __init__(self, studio: Studio, visitors: Visitors) -> None:
        self._studio = studio
        self._visitors = visitors
        self._files = ModelFiles(studio.settings)
        self._training = Training(studio)

    def routes(self) -> list[BaseRoute]:
        """Routes to be put before Gradio's."""
        return [
            Route("/studio/models/file", self.receive, methods=["POST"]),
            Route("/studio/models/keep", self.keep, methods=["POST"]),
            Route("/studio/train", self.start, methods=["POST"]),
            Route("/studio/train/{asked}", self.look, methods=["GET"]),
            Route("/studio/train/{asked}/stop", self.stop, methods=["POST"]),
            Route("/studio/train/{asked}/picture.png", self.picture, methods=["GET"]),
        ]

    async def receive(self, request: Request) -> Response:
        """One file, as the body; `?name=` and, from the second on, `?token=`."""
        query = request.query_params
        length = request.headers.get("content-length", "0")
        try:
            self._visitors.of_request(request)
            token, sha256 = await self._files.receive(
                query.get("token", ""), query.get("name", "") or "weights",
                int(length) if length.isdecimal() else 0, _pieces(request),
            )  # fmt: skip
        except UserError as error:
            return refused(error)
        return JSONResponse({"token": token, "sha256": sha256})

    async def keep(self, request: Request) -> Response:
        """Check what was sent and keep it; the body is JSON, `token` and `sha256`."""
        try:
            self._visitors.of_request(request)
            wanted = await json_of(request, _LONGEST)
            added = await run_in_threadpool(
                self._files.keep, str(wanted.get("token", "")), str(wanted.get("sha256") or "")
            )
        except UserError as error:
            return refused(error)
        return JSONResponse({"models": [{"id": one.id, "title": one.title} for one in added]})

    async def start(self, request: Request) -> Response:
        """Begin a training; the body is JSON, see `Training.start`."""
        try:
            owner = self._visitors.of_request(request)
            wanted = await json_of(request, _LONGEST)
            session = await run_in_threadpool(self._studio.open_session, owner)
            asked = await run_in_threadpool(self._training.start, owner, session.id, wanted)
        except UserError as error:
            return refused(error)
        return JSONResponse({"asked": asked})

    async def look(self, request: Request) -> Response:
        """How a training is getting on; `now` is the owner's own, whichever."""
        try:
            owner = self._visitors.of_request(request)
            asked = request.path_params["asked"]
            if asked == "now":
                found = await run_in_threadpool(self._training.now, owner)
            else:
                found = await run_in_threadpool(self._training.look, owner, asked)
        except UserError:
            return missing()
        return JSONResponse(asdict(found) if found is not None else {}, headers=FRESH)

    async def stop(self, request: Request) -> Response:
        """End a training."""
        try:
            owner = self._visitors.of_request(request)
            await run_in_threadpool(self._training.stop, owner, request.path_params["asked"])
        except UserError:
            return missing()
        return JSONResponse({})

    async def picture(self, request: Request) -> Response:
        """The picture of a training's last validation."""
        try:
            owner = self._visitors.of_request(request)
            path = await run_in_threadpool(
                self._training.picture, owner, request.path_params["asked"]
            )
        except UserError:
            return missing()
        return FileResponse(path, media_type="image/png", headers=FRESH)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    async for piece in request.stream():
        yield piece
