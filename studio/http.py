"""What the page needs beside Gradio: files that are sent to their owner alone.

Gradio serves everything in its cache to whoever has the address, so results never go there: they
are served from here, after the visitor was compared with the job's owner.
"""

from __future__ import annotations

import mimetypes
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from engines.base import UserError
from studio.answers import FRESH, json_of, missing, refused
from studio.archive import Member, zip_stream
from studio.asking import Asking
from studio.inbox import Inbox
from studio.jobs.views import NotFound
from studio.library.routes import LibraryRoutes
from studio.overview import Overviews
from studio.preview import Previews
from studio.visitors import Visitors
from studio.workspace import printable

if TYPE_CHECKING:
    from studio.jobs.service import Studio
    from studio.jobs.views import ArtifactView

ASSETS = Path(__file__).resolve().parents[1] / "assets"
_ARCHIVE = 10_000  # jobs in one archive
_QUESTION = 64_000  # bytes
# Said here, as the table that Python reads differs from machine to machine, and a browser plays
# nothing whose type it is not told.
_SOUNDS = {
    ".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg", ".ogg": "audio/ogg",
    ".oga": "audio/ogg", ".opus": "audio/ogg", ".m4a": "audio/mp4", ".aac": "audio/aac",
    ".weba": "audio/webm", ".webm": "video/webm", ".mp4": "video/mp4", ".m4v": "video/mp4",
    ".mov": "video/quicktime", ".mkv": "video/x-matroska",
}  # fmt: skip
# Anything else is offered as a download, so that no uploaded document runs as a page of ours.
_INLINE = {"image/jpeg", "image/png", "image/webp", *_SOUNDS.values()}
_SHORTLY = {  # what stands for a chosen file, as long as the page is open
    "Cache-Control": "private, max-age=3600",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


class StudioRoutes:
    """The studio's own addresses, all below /studio/."""

    def __init__(self, studio: Studio, visitors: Visitors, boot: str) -> None:
        self._studio = studio
        self._visitors = visitors
        self._boot = boot
        self._inbox = Inbox(studio.settings.uploads)
        self._asking = Asking(studio)
        self._previews = Previews(studio)
        self._overviews = Overviews()
        self._library = LibraryRoutes(studio, visitors)

    def routes(self) -> list[BaseRoute]:
        """Routes to be put before Gradio's."""
        return [
            Route("/studio/alive", self.alive, methods=["GET"]),
            Route("/studio/file/{artifact_id}/{name}", self.file, methods=["GET"]),
            Route("/studio/chosen/{session}/{tab}/{key}/{name}", self.chosen, methods=["GET"]),
            Route("/studio/zip/{kind}/{key}", self.zip, methods=["GET"]),
            Route("/studio/ask/{job}", self.ask, methods=["POST"]),
            Route("/studio/answer/{asked}", self.answer, methods=["GET"]),
            Route("/studio/answer/{asked}/stop", self.stop, methods=["POST"]),
            Route("/studio/overview/{session}/{tab}/{key}", self.overview, methods=["GET"]),
            Route("/studio/region/{session}/{tab}/{key}", self.enlarge, methods=["POST"]),
            Route("/studio/region/{asked}", self.region, methods=["GET"]),
            Route("/studio/region/{asked}/stop", self.stop_region, methods=["POST"]),
            Route("/studio/region/{asked}/{name}", self.region_file, methods=["GET"]),
            *self._library.routes(),
            *(
                Mount(f"/studio/assets/{room}", StaticFiles(directory=ASSETS / room))
                for room in ("js", "css", "icons", "languages")
            ),
        ]

    async def alive(self, request: Request) -> Response:
        """Lets the page see that the studio is there, and whether it was started anew."""
        return JSONResponse({"boot": self._boot}, headers=FRESH)

    async def file(self, request: Request) -> Response:
        """One file of a job of the visitor's, whole or in ranges; `?download=1` to save it."""
        try:
            owner = self._visitors.of_request(request)
            found = await run_in_threadpool(
                self._studio.artifact, owner, request.path_params["artifact_id"]
            )
        except UserError:
            return missing()
        if found.name != request.path_params["name"] or not found.path.is_file():
            return missing()
        return _file(found.path, found.name, request)

    async def chosen(self, request: Request) -> Response:
        """A sound or a film that the visitor has chosen and not yet run, to listen to."""
        name = request.path_params["name"]
        try:
            owner = self._visitors.of_request(request)
            path = await run_in_threadpool(self._chosen, owner, **request.path_params)
        except UserError:
            return missing()
        if path is None or Path(name).suffix.lower() not in _SOUNDS:
            return missing()
        return _file(path, name, request)

    def _chosen(self, owner: str, session: str, tab: str, key: str, name: str) -> Path | None:
        if session not in [one.id for one in self._studio.sessions(owner)]:
            return None
        files = self._inbox.files(session, tab)
        named = [file.path for file in files if file.key == key]
        return next((path for path in named if printable(path.name) == name), None)

    async def zip(self, request: Request) -> Response:
        """All outputs of a job or of a batch of the visitor's, or one folder, in one archive."""
        kind, key = request.path_params["kind"], request.path_params["key"]
        try:
            owner = self._visitors.of_request(request)
            outputs = await run_in_threadpool(self._outputs, owner, kind, key)
        except UserError:
            return missing()
        members = [Member(file.path, file.name) for file in outputs if not file.missing]
        if not members:
            return missing()
        name = quote(f"noise-studio-{key[:8]}.zip")
        named = f'filename="{name}"'
        if kind == "folder":
            named = f"filename*=UTF-8''{quote(f'{members[0].name}.zip', safe='')}"
        return StreamingResponse(
            zip_stream(members),
            media_type="application/zip",
            headers={
                "Content-Disposition": f"attachment; {named}",
                "Cache-Control": "no-store",
            },
        )

    def _outputs(self, owner: str, kind: str, key: str) -> list[ArtifactView]:
        if kind == "folder":
            found = self._studio.artifact(owner, key)
            return [found] if found.folder else []
        if kind == "job":
            return list(self._studio.job(owner, key).outputs)
        if kind == "batch":
            jobs = self._studio.jobs(owner, batch=key, limit=_ARCHIVE, newest_first=False)
            return [file for job in jobs for file in job.outputs]
        raise UserError("There is no such archive")

    async def ask(self, request: Request) -> Response:
        """Put a question to the models of a job of the visitor's; the body is JSON.

        It holds `prompt`, and may hold `chat`, `max_tokens` and `temperature`.
        """
        try:
            owner = self._visitors.of_request(request)
            question = await json_of(request, _QUESTION)
            asked = await run_in_threadpool(
                self._asking.ask, owner, request.path_params["job"],
                str(question.get("prompt", "")), chat=question.get("chat") is True,
                max_tokens=question.get("max_tokens", 64),
                temperature=question.get("temperature", 0.0),
            )  # fmt: skip
        except UserError as error:
            return refused(error)
        return JSONResponse({"asked": asked})

    async def answer(self, request: Request) -> Response:
        """What is answered so far."""
        try:
            owner = self._visitors.of_request(request)
            found = await run_in_threadpool(
                self._asking.answer, owner, request.path_params["asked"]
            )
        except UserError:
            return missing()
        return JSONResponse(asdict(found), headers=FRESH)

    async def stop(self, request: Request) -> Response:
        """Stop answering."""
        try:
            owner = self._visitors.of_request(request)
            await run_in_threadpool(self._asking.stop, owner, request.path_params["asked"])
        except UserError:
            return missing()
        return JSONResponse({})

    async def overview(self, request: Request) -> Response:
        """A picture that the visitor has chosen and not yet run, as a JPEG of moderate size."""
        try:
            owner = self._visitors.of_request(request)
            path = await run_in_threadpool(self._previews.picture, owner, **request.path_params)
            made, kind = await run_in_threadpool(self._overviews.image, path)
        except NotFound:
            return missing()
        except UserError as error:
            return PlainTextResponse(str(error), status_code=422)
        return Response(made, media_type=kind, headers=_SHORTLY)

    async def enlarge(self, request: Request) -> Response:
        """Have a region of a chosen picture enlarged; the body is JSON, see `Previews.ask`."""
        try:
            owner = self._visitors.of_request(request)
            wanted = await json_of(request, _QUESTION)
            asked = await run_in_threadpool(
                self._previews.ask, owner, wanted=wanted, **request.path_params
            )
        except UserError as error:
            return refused(error)
        return JSONResponse({"asked": asked})

    async def region(self, request: Request) -> Response:
        """What there is of a region."""
        try:
            owner = self._visitors.of_request(request)
            found = await run_in_threadpool(
                self._previews.look, owner, request.path_params["asked"]
            )
        except UserError:
            return missing()
        return JSONResponse(asdict(found), headers=FRESH)

    async def region_file(self, request: Request) -> Response:
        """One of the two pictures of a region."""
        try:
            owner = self._visitors.of_request(request)
            path = await run_in_threadpool(self._previews.file, owner, **request.path_params)
        except UserError:
            return missing()
        return FileResponse(path, media_type="image/png", headers=_SHORTLY)

    async def stop_region(self, request: Request) -> Response:
        """Stop enlarging a region."""
        try:
            owner = self._visitors.of_request(request)
            await run_in_threadpool(self._previews.stop, owner, request.path_params["asked"])
        except UserError:
            return missing()
        return JSONResponse({})


def _file(path: Path, name: str, request: Request) -> Response:
    """A file whole or in ranges; to be looked at or played where that is safe, else to be kept."""
    known = _SOUNDS.get(Path(name).suffix.lower())
    media_type = known or mimetypes.guess_type(name)[0] or "application/octet-stream"
    download = media_type not in _INLINE or "download" in request.query_params
    return FileResponse(
        path,
        media_type=media_type,
        filename=name,
        content_disposition_type="attachment" if download else "inline",
        headers={
            "Cache-Control": "private, max-age=604800, immutable",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        },
    )
