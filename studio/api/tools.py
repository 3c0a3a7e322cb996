"""The engines as tools of the Model Context Protocol, at /studio/mcp (streamable HTTP).

A tool is one engine, its parameters are the engine's own, and what it asks for goes through the
same queue, limits and owners as the page. Requests carry everything (no sessions are kept), so who
calls is told by each one: by a key on a studio that strangers share, by a password behind a login.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import CallToolResult, ListToolsResult, TextContent, Tool, ToolAnnotations
from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from engines import registry
from studio.api.calls import PRESET, Calls
from studio.api.endpoints import address
from studio.api.errors import ApiError, code_of
from studio.api.inline import MOST
from studio.api.types import JobResult, JobStatus, PresetFacts
from studio.config import VERSION
from studio.described import describe
from studio.jobs.service import Studio
from studio.visitors import KEY, Visitors

PATH = "/studio/mcp"
LIST, SAVE, DELETE = "list_presets", "save_preset", "delete_preset"
_WAIT, _LONGEST = 45.0, 300.0  # seconds; most agents give up on a tool after a minute
_BODY = MOST + 2**20
_FORMS = {"title", "advanced", "local", "models", "suggested", "words", "brush", "unit"}
_OWN = ("files", "wait")  # names that tools add to an engine's parameters, as `PRESET`
_FILES = {
    "type": "array", "minItems": 1, "items": {"type": "string"}, "title": "Files",
    "description": "Each the path that an upload to /gradio_api/upload answered with, or its "
    "content as data:TYPE;name=FILE;base64,CONTENT; where the studio runs on your own machine, "
    "also the path of a file on it",
}  # fmt: skip
_JOB = {"type": "object", "properties": {"job": {"type": "string", "description": "Id of a job"}},
        "required": ["job"], "additionalProperties": False}  # fmt: skip
_PRESET = {
    "type": "string", "default": "", "title": "Preset",
    "description": "Name of a preset of this engine, as list_presets tells; its values are taken "
    "where none is given here",
}  # fmt: skip
_ENGINE = {"type": "string", "description": "Id of an engine, such as raw.yond"}
_NAME = {"type": "string", "minLength": 1, "description": "Name of a preset"}
_INSTRUCTIONS = (
    "Takes noise away from RAW photos, pictures and speech, separates sounds, enlarges pictures "
    "and makes language models smaller. A tool answers when its job has ended, or with the state "
    "'running' if it takes longer than `wait`; ask job_status then, and job_result at the end. "
    "Files are fetched from the addresses in `outputs`, with the same headers as here."
)


class Tools:
    """The server of one studio."""

    def __init__(self, studio: Studio, visitors: Visitors) -> None:
        self._studio = studio
        self._visitors = visitors
        self._calls = Calls(studio)
        server: Any = Server(
            "noise-studio", version=VERSION, title="Noise Studio", instructions=_INSTRUCTIONS,
            on_list_tools=self._list, on_call_tool=self._call,
        )  # fmt: skip
        self._server = server
        self._manager: StreamableHTTPSessionManager | None = None

    def routes(self) -> list[BaseRoute]:
        """The one address, which takes POST alone: nothing is kept that could be asked for."""
        return [Route(PATH, _Endpoint(self._serve), methods=["POST"])]

    @asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[None]:
        """Runs as long as the server does; each start of it needs a manager of its own."""
        self._manager = StreamableHTTPSessionManager(
            self._server, json_response=True, stateless=True, max_request_body_size=_BODY
        )
        async with self._manager.run():
            yield
        self._manager = None

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._manager is not None, "the server's lifespan has not begun"
        await self._manager.handle_request(scope, receive, send)

    async def _list(self, context: Any, params: Any) -> ListToolsResult:
        shared = self._studio.settings.shared
        return ListToolsResult(tools=await run_in_threadpool(_tools, shared=shared))

    async def _call(self, context: Any, params: Any) -> CallToolResult:
        try:
            found = await self._answer(params.name, params.arguments or {}, context.request)
        except Exception as error:
            code, sentence = code_of(error)
            if code == "internal":
                traceback.print_exc(file=sys.stderr)
            told = {"code": code, "error": sentence}
            # Some clients hold what is structured to the schema of a success, so this is text.
            return CallToolResult(content=[_text(told)], is_error=True)
        return CallToolResult(content=[_text(found)], structured_content=dict(found))

    async def _answer(
        self, name: str, arguments: dict[str, Any], request: Request
    ) -> Mapping[str, Any]:
        owner = self._owner(request)
        if name in ("job_status", "job_result", "cancel_job"):
            job = str(arguments.get("job", ""))
            if name == "job_result":
                return await run_in_threadpool(self._calls.result, owner, job, address(request))
            call: Callable[[str, str], JobStatus] = (
                self._calls.status if name == "job_status" else self._calls.cancel
            )
            return await run_in_threadpool(call, owner, job)
        if name in (LIST, SAVE, DELETE):
            return await run_in_threadpool(self._preset, name, owner, arguments)
        engine = {tool_name(one): one for one in registry.engine_ids()}.get(name)
        if engine is None:
            raise ApiError("no_such_engine", "There is no such tool; list the tools anew")
        given = dict(arguments)
        files, wait = (given.pop(one, None) for one in _OWN)
        try:
            patience = _WAIT if wait is None else float(wait)
        except (TypeError, ValueError):
            raise ApiError("invalid", "wait is a number of seconds") from None
        return await self._calls.run(
            owner, engine, files or [], given, None, patience, address(request)
        )

    def _preset(self, tool: str, owner: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        engine, name = str(given.get("engine", "")), str(given.get("name", ""))
        if tool == LIST:
            return {"presets": self._calls.presets(owner, engine)}
        if tool == SAVE:
            return self._calls.save_preset(owner, engine, name, given.get("params", {}))
        return self._calls.delete_preset(owner, engine, name)

    def _owner(self, request: Request) -> str:
        settings = self._studio.settings
        if settings.shared and not settings.auth and KEY not in request.headers:
            raise ApiError(
                "not_identified",
                "Send a key of your own in the header X-Studio-Key, so that your jobs are yours: "
                "32 random hexadecimal digits, as openssl rand -hex 16 prints",
            )
        try:
            return self._visitors.of_request(request)
        except Exception as error:
            raise ApiError("not_identified", str(error)) from error


class _Endpoint:
    """An ASGI application: starlette takes a method of an object for a plain handler."""

    def __init__(self, serve: Callable[[Scope, Receive, Send], Any]) -> None:
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send)


def tool_name(engine_id: str) -> str:
    """An engine's tool: "raw.yond" -> "raw_yond"."""
    return engine_id.replace(".", "_")


def _tools(*, shared: bool) -> list[Tool]:
    result, status = TypeAdapter(JobResult).json_schema(), TypeAdapter(JobStatus).json_schema()
    tools = [_tool(engine_id, result, shared=shared) for engine_id in registry.engine_ids()]
    return [
        *tools,
        Tool(name="job_status", description="Where a job of yours stands", input_schema=_JOB,
             output_schema=status, annotations=ToolAnnotations(read_only_hint=True)),
        Tool(name="job_result", description="What a job of yours made, with its files' addresses",
             input_schema=_JOB, output_schema=result,
             annotations=ToolAnnotations(read_only_hint=True)),
        Tool(name="cancel_job", description="Stop a job of yours, or take it out of the queue",
             input_schema=_JOB, output_schema=status),
        *_preset_tools(),
    ]  # fmt: skip


def _preset_tools() -> list[Tool]:
    preset = TypeAdapter(PresetFacts).json_schema()
    listed = {"type": "object", "properties": {"presets": {"type": "array", "items": preset}},
              "required": ["presets"]}  # fmt: skip
    params = {"type": "object", "description": "Values of the engine's parameters"}
    return [
        Tool(name=LIST, description="Presets of yours: an engine's settings with a name",
             input_schema=_takes({"engine": {**_ENGINE, "default": ""}}),
             output_schema=listed, annotations=ToolAnnotations(read_only_hint=True)),
        Tool(name=SAVE, description="Keep an engine's settings under a name, in the place of those "
             "that had it", output_schema=preset,
             input_schema=_takes({"engine": _ENGINE, "name": _NAME, "params": params})),
        Tool(name=DELETE, description="Delete a preset of yours; what was made with it stays",
             input_schema=_takes({"engine": _ENGINE, "name": _NAME}), output_schema=preset),
    ]  # fmt: skip


def _takes(properties: dict[str, Any]) -> dict[str, Any]:
    required = [name for name, one in properties.items() if "default" not in one]
    return {"type": "object", "properties": properties, "required": required,
            "additionalProperties": False}  # fmt: skip


def _tool(engine_id: str, result: dict[str, Any], *, shared: bool) -> Tool:
    engine = describe(engine_id)
    schema = registry.engine_class(engine_id).Params.model_json_schema()
    properties = {
        "files": _FILES,
        **{
            name: _plain(one)
            for name, one in schema["properties"].items()
            if not (shared and one.get("local"))  # only the person at the machine may set these
        },
        PRESET: _PRESET,
        "wait": {"type": "number", "minimum": 0, "maximum": _LONGEST, "default": _WAIT,
                 "description": "Seconds to wait for the job before its state is answered"},
    }  # fmt: skip
    kinds = " ".join(engine["suffixes"])
    return Tool(
        name=tool_name(engine_id),
        title=engine["title"],
        description=f"{engine['tab']}: {engine['summary']}. Reads {kinds}"[:1000],
        input_schema={
            "type": "object", "properties": properties, "required": ["files"],
            "additionalProperties": False,
            **({"$defs": schema["$defs"]} if "$defs" in schema else {}),
        },
        output_schema=result,
        annotations=ToolAnnotations(destructive_hint=False, open_world_hint=False),
    )  # fmt: skip


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema without what is for forms; agents read every word of it."""
    kept = {key: value for key, value in schema.items() if key not in _FORMS}
    if schema.get("unit"):
        kept["description"] = f"{kept['description']} ({schema['unit']})"
    return kept


def _text(value: Mapping[str, Any]) -> TextContent:
    return TextContent(text=json.dumps(value, ensure_ascii=False))
