"""Takes files that visitors send, each into a folder of theirs, and no more than there is room for.

Gradio's own address for this puts equal files of different visitors at one path and knows no bound
but that of one file; here everything is counted while it arrives.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

from gradio.route_utils import GradioMultiPartParser, GradioUploadFile
from gradio.routes import file_upload_statuses
from starlette.concurrency import run_in_threadpool
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from engines.base import UserError
from studio.limits import LimitReached
from studio.workspace import remove_tree, safe_name, tree_bytes

if TYPE_CHECKING:
    from studio.jobs.service import Studio
    from studio.visitors import Visitors

_AT_ONCE = 4  # uploads of one visitor
_LOOK_EVERY = 16 * 2**20  # bytes between two looks at the disk
_MOST_FILES = 1000  # in one request
_OVERHEAD = 4096  # bytes around each file in a request


def own_folder(temporary: Path, owner: str) -> Path:
    """Where a visitor's uploads arrive; nobody who does not know the owner can name it."""
    return temporary / hashlib.sha256(f"uploads\0{owner}".encode()).hexdigest()[:32]


def is_own(temporary: Path, owner: str, path: Path) -> bool:
    """Whether a file was uploaded by that visitor and waits to be taken."""
    folder = own_folder(temporary, owner)
    try:
        real = path.resolve(strict=True)
        return real == path and real.is_file() and real.is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        return False


def room(studio: Studio, owner: str) -> int:
    """Bytes that an owner may still send.

    Raises:
        LimitReached: the disk has no room for anybody.
    """
    waiting = own_folder(studio.settings.temporary, owner)
    taken = studio.storage(owner) + (tree_bytes(waiting) if waiting.is_dir() else 0)
    return studio.limits.room(owner, taken)


class Uploads:
    """The address that browsers and programs send files to."""

    def __init__(self, studio: Studio, visitors: Visitors) -> None:
        self._studio = studio
        self._visitors = visitors
        self._under_way: Counter[str] = Counter()

    def route(self) -> Route:
        """Stands before Gradio's own of the same address."""
        return Route("/gradio_api/upload", self.take, methods=["POST"])

    async def take(self, request: Request) -> Response:
        """Files as multipart/form-data; answers with a list of their paths, as Gradio does."""
        try:
            owner = self._visitors.of_request(request)
        except UserError as error:
            return PlainTextResponse(str(error), 401)
        if self._under_way[owner] >= _AT_ONCE:
            return PlainTextResponse("Other files of yours are on their way; send more after", 429)
        self._under_way[owner] += 1
        folder = own_folder(self._studio.settings.temporary, owner) / secrets.token_hex(8)
        try:
            return JSONResponse(await self._receive(request, owner, folder))
        except LimitReached as error:
            return PlainTextResponse(str(error), 413)
        except UserError as error:
            return PlainTextResponse(str(error), 400)
        except MultiPartException as error:
            if "maximum allowed size" in error.message:
                most = self._studio.settings.max_upload_mb
                return PlainTextResponse(
                    f"A file may have up to {most} MB; send a smaller one", 413
                )
            return PlainTextResponse("These files did not arrive whole; send them again", 400)
        except ClientDisconnect:
            return PlainTextResponse("The upload was broken off", 400)
        except OSError:
            return PlainTextResponse("There is no room for this file here at present", 507)
        finally:
            # What was not moved to its own name is a piece of a file.
            await run_in_threadpool(remove_tree, folder)
            self._under_way[owner] -= 1
            if not self._under_way[owner]:
                del self._under_way[owner]

    async def _receive(self, request: Request, owner: str, folder: Path) -> list[str]:
        settings = self._studio.settings
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise UserError("Files are sent as multipart/form-data")
        announced = request.headers.get("content-length", "")
        space = await run_in_threadpool(room, self._studio, owner)
        if announced.isdecimal() and int(announced) > space + _OVERHEAD:
            self._studio.limits.refuse_bytes()
        folder.mkdir(parents=True)
        upload_id = request.query_params.get("upload_id")
        if upload_id:
            file_upload_statuses.track(upload_id)
        parser = GradioMultiPartParser(
            request.headers,
            self._counted(request, space),
            max_files=settings.max_files or _MOST_FILES,
            max_fields=0,  # a field that is no file would be kept in memory
            max_file_size=settings.max_upload_mb * 2**20,
            upload_dir=folder,
            upload_id=upload_id,
            upload_progress=file_upload_statuses if upload_id else None,
        )
        try:
            form = await parser.parse()
        except MultiPartException as error:
            if "Too many files" in error.message:
                raise LimitReached(
                    f"At most {settings.max_files or _MOST_FILES} files can be sent at once"
                ) from error
            raise
        finally:
            if upload_id:
                file_upload_statuses.set_done(upload_id)
        sent = [file for file in form.getlist("files") if isinstance(file, GradioUploadFile)]
        return await run_in_threadpool(_place, sent, folder.parent)

    async def _counted(self, request: Request, space: int) -> AsyncGenerator[bytes]:
        """The request's body, until it is more than there is room for."""
        looked = arrived = 0
        async for piece in request.stream():
            arrived += len(piece)
            if arrived > space + _OVERHEAD:
                self._studio.limits.refuse_bytes()
            if arrived - looked > _LOOK_EVERY:
                looked = arrived
                self._studio.limits.check_disk()
            yield piece


def _place(files: list[GradioUploadFile], folder: Path) -> list[str]:
    """Give every file its own name in a folder of its own; returns their paths."""
    placed: list[str] = []
    for file in files:
        target = folder / secrets.token_hex(8) / safe_name(file.filename or "file")
        target.parent.mkdir()
        file.file.close()
        os.rename(file.file.name, target)
        placed.append(str(target.resolve()))
    return placed
