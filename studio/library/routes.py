"""Addresses of the library: questions to it as JSON with finished HTML, files as streams.

Nothing here is sent to anybody but its owner; a foreign id and one that does not exist are the
same to whoever asks.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
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
from starlette.routing import BaseRoute, Route

from engines.base import UserError
from studio.answers import FRESH, json_of, missing, refused
from studio.archive import Member, zip_stream
from studio.jobs.views import NotFound, engine_title
from studio.library.cards import card, chips, details, side_by_side, spaces
from studio.library.faces import Faces
from studio.library.pack import pack
from studio.library.records import record
from studio.library.service import MOST, Library
from studio.library.unpack import import_session
from studio.library.wanted import PAGE, Wanted
from studio.markup import filesize, plural, render
from studio.uploads import room
from studio.workspace import remove, safe_name, tree_bytes

if TYPE_CHECKING:
    from studio.jobs.service import Studio
    from studio.visitors import Visitors

_BODY = 1 << 20  # bytes of a question
_FACE = {
    "Cache-Control": "private, max-age=604800, immutable",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}
_KINDS = {
    "raw": "RAW", "image": "Pictures", "audio": "Sounds", "video": "Films", "model": "Models",
    "profile": "Camera profiles", "document": "Documents",
}  # fmt: skip


class LibraryRoutes:
    """Routes below /studio/library, /studio/session and /studio/thumb."""

    def __init__(self, studio: Studio, visitors: Visitors) -> None:
        self._studio = studio
        self._visitors = visitors
        self._library = Library(studio)
        self._faces = Faces(studio.settings.cache)

    def routes(self) -> list[BaseRoute]:
        """To be put before Gradio's."""
        return [
            Route("/studio/library", self._asked(self._page), methods=["GET"]),
            Route("/studio/library/facets", self._asked(self._facets), methods=["GET"]),
            Route("/studio/library/ids", self._asked(self._ids), methods=["GET"]),
            Route("/studio/library/space", self._asked(self._space), methods=["GET"]),
            Route("/studio/library/job/{job}", self._asked(self._job), methods=["GET"]),
            Route(
                "/studio/library/compare/{one}/{other}", self._asked(self._compare),
                methods=["GET"],
            ),
            Route("/studio/library/{action}", self._asked(self._change), methods=["POST"]),
            Route("/studio/library-zip", self.zip, methods=["POST"]),
            Route("/studio/thumb/{artifact}", self.thumb, methods=["GET"]),
            Route("/studio/session/{session}/export", self.export, methods=["GET"]),
            Route("/studio/session/import", self.import_, methods=["POST"]),
        ]  # fmt: skip

    def _asked(self, answer: Callable[[str, Request, Any], dict[str, Any]]) -> Any:
        """A route of JSON: runs `answer` for the owner in a thread, says errors in a sentence."""

        async def handle(request: Request) -> Response:
            try:
                owner = self._visitors.of_request(request)
                body = await json_of(request, _BODY) if request.method == "POST" else None
                found = await run_in_threadpool(answer, owner, request, body)
            except NotFound as error:
                return refused(error)
            except UserError as error:
                return _said(str(error))
            return JSONResponse(found, headers=FRESH)

        return handle

    # What is there

    def _page(self, owner: str, request: Request, _body: Any) -> dict[str, Any]:
        wanted = Wanted.of(request.query_params)
        found = self._library.find(owner, wanted)
        pages = max(1, -(-found.total // PAGE))
        html = render(
            "library.html",
            cards=[card(job) for job in found.jobs],
            narrowed=wanted.narrowed,
            trash=wanted.trash,
            kept=self._library.kept.days,
        )
        return {
            "html": html,
            "total": found.total,
            "summary": f"{plural(found.total, 'result')}, {filesize(found.bytes)}",
            "page": min(wanted.page, pages - 1),
            "pages": pages,
        }

    def _facets(self, owner: str, _request: Request, _body: Any) -> dict[str, Any]:
        found = self._library.facets(owner)
        engines = {engine: engine_title(engine) for engine, _ in found.engines}
        return {
            "engine": chips(found.engines, engines),
            "kind": chips(found.kinds, _KINDS),
            "state": chips(found.states, {}),
            "camera": chips(found.cameras, {}),
            "session": [
                {"value": one.id, "title": one.name, "count": one.jobs}
                for one in self._studio.sessions(owner)
            ],
            "measured": [name.replace("_", " ") for name in found.measured[:400]],
        }

    def _ids(self, owner: str, request: Request, _body: Any) -> dict[str, Any]:
        return {"ids": self._library.ids(owner, Wanted.of(request.query_params))}

    def _space(self, owner: str, _request: Request, _body: Any) -> dict[str, Any]:
        usage = self._library.usage(owner)
        uploads = self._studio.settings.uploads
        sent = sum(tree_bytes(uploads / one.id) for one in self._studio.sessions(owner))
        rows = spaces(usage, sent)
        days = self._library.kept.days
        html = render(
            "space.html",
            rows=rows,
            total=sum(row[2] for row in rows),
            usage=usage,
            kept=plural(days, "day") if days else "an hour",
        )
        return {"html": html}

    def _job(self, owner: str, request: Request, _body: Any) -> dict[str, Any]:
        job = self._studio.job(owner, request.path_params["job"])
        others = self._library.siblings(owner, job) if job.state == "done" else []
        names = self._studio.store.session_names(owner)
        html = render(
            "details.html",
            **details(job),
            session=names.get(job.session_id, ""),
            siblings=[card(other) for other in others],
        )
        return {"html": html, "title": job.name or job.title}

    def _compare(self, owner: str, request: Request, _body: Any) -> dict[str, Any]:
        first, second = self._library.pair(owner, **request.path_params)
        return {"html": render("beside.html", **side_by_side(first, second))}

    # What is changed

    def _change(self, owner: str, request: Request, body: Any) -> dict[str, Any]:
        action = request.path_params["action"]
        if action == "delete":
            deleted = self._library.delete(owner, _named_ids(body))
            return {"ids": deleted.ids, "running": deleted.running}
        if action == "restore":
            return {"ids": self._library.restore(owner, _named_ids(body))}
        if action == "tidy":
            return {"ids": self._library.tidy(owner).ids}
        if action == "empty":
            return {"removed": self._library.empty(owner)}
        raise NotFound("There is no such action")

    # Files

    async def zip(self, request: Request) -> Response:
        """All outputs of the chosen jobs in one archive, with what made them; the body is a form.

        A form, as the browser then saves the stream itself while it comes.
        """
        try:
            owner = self._visitors.of_request(request)
            form = await request.form(max_fields=10)
            ids = [one for one in str(form.get("ids", "")).split(",") if one][:MOST]
            members = await run_in_threadpool(self._members, owner, ids)
        except UserError:
            return missing()
        if not members:
            return missing()
        return _stream(zip_stream(members), "noise-studio.zip")

    def _members(self, owner: str, ids: list[str]) -> list[Member]:
        jobs = [job for job in self._library.jobs(owner, ids) if job.state == "done"]
        files = [file for job in jobs for file in job.outputs if not file.missing]
        if not files:
            return []
        records = json.dumps([record(job) for job in jobs], indent=1, ensure_ascii=True)
        return [
            *(Member(file.path, file.name) for file in files),
            Member(None, "jobs.json", records.encode()),
        ]

    async def thumb(self, request: Request) -> Response:
        """A small picture of a file, or the outline of a sound."""
        try:
            owner = self._visitors.of_request(request)
            path, kind = await run_in_threadpool(self._thumb, owner, request)
        except UserError:
            return missing()
        return FileResponse(path, media_type=kind, headers=_FACE)

    def _thumb(self, owner: str, request: Request) -> tuple[Path, str]:
        artifact = request.path_params["artifact"]
        return self._faces.picture(*self._studio.store.shown_artifact(owner, artifact))

    async def export(self, request: Request) -> Response:
        """A session as one zip."""
        try:
            owner = self._visitors.of_request(request)
            packed = await run_in_threadpool(
                pack, self._studio, owner, request.path_params["session"]
            )
        except NotFound:
            return missing()
        except UserError as error:
            return PlainTextResponse(str(error), status_code=422)
        return _stream(packed.stream(), packed.file_name)

    async def import_(self, request: Request) -> Response:
        """A session out of a zip, which is the body; `?name=` is the zip's own name."""
        try:
            owner = self._visitors.of_request(request)
        except UserError:
            return missing()
        settings = self._studio.settings
        name = safe_name(request.query_params.get("name", "session.zip"))
        folder = settings.temporary / f"session-{secrets.token_hex(8)}"
        try:
            space = await run_in_threadpool(room, self._studio, owner)
            folder.mkdir(parents=True)
            most = min(settings.max_upload_mb << 20, space) if settings.shared else None
            with (folder / name).open("wb") as file:
                async for piece in request.stream():
                    file.write(piece)
                    if most is not None and file.tell() > most:
                        raise UserError(
                            f"{name} is larger than {most >> 20} MB, which is the most "
                            "that can be sent here"
                        )
            made = await run_in_threadpool(import_session, self._studio, owner, folder / name)
        except UserError as error:
            return _said(str(error))
        except OSError as error:
            sentence = f"{name} could not be kept ({error.strerror}); free some disk space"
            return _said(sentence)
        finally:
            await run_in_threadpool(remove, folder)
        return JSONResponse({"session": made.id, "name": made.name, "jobs": made.jobs})


def _stream(pieces: Any, name: str) -> Response:
    return StreamingResponse(
        pieces,
        media_type="application/zip",
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "Cache-Control": "no-store",
        },
    )


def _named_ids(body: Any) -> list[str]:
    ids = body.get("ids")
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise UserError("Nothing was chosen; choose something first")
    return ids


def _said(sentence: str) -> Response:
    # What a person mistyped is answered; a status of failure would be counted as one of the studio.
    return JSONResponse({"error": sentence}, headers=FRESH)
