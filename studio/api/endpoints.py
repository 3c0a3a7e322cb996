"""Gradio's named endpoints: engines, submit, run, status, result, jobs, cancel, and presets.

Names, parameters and results are promised to stay; docs/api.md shows each. Whoever calls is the
visitor of the same cookie, key or password, so nothing here can reach anybody else's.
"""

# Gradio reads the hints of the functions below, so they must not be texts.
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio.events import api

from studio.api.calls import Calls
from studio.api.errors import code_of
from studio.api.types import EngineFacts, JobResult, JobStatus, PresetFacts, Submitted
from studio.jobs.service import Studio
from studio.visitors import Visitors


def add_endpoints(studio: Studio, visitors: Visitors) -> None:
    """Make the endpoints; call inside a Blocks context."""
    calls = Calls(studio)

    def engines(engine: str = "") -> list[EngineFacts]:
        """What there is, with parameters as JSON schemas; `engine` names one, "" asks for all."""
        with _told():
            return calls.engines(engine)

    def submit(
        engine: str, files: list[Any], params: dict[str, Any], seed: int | None, request: gr.Request
    ) -> Submitted:
        """Queue one job a file; see `engines` for params, and upload files first."""
        with _told():
            return calls.submit(visitors.of_event(request), engine, files, params, seed)

    async def run(
        engine: str,
        files: list[Any],
        params: dict[str, Any],
        seed: int | None,
        wait: float,
        request: gr.Request,
    ) -> JobResult:
        """Queue one job and answer when it has ended, or after `wait` seconds (300 at most)."""
        with _told():
            owner = visitors.of_event(request)
            return await calls.run(owner, engine, files, params, seed, wait, address(request))

    def status(job: str, request: gr.Request) -> JobStatus:
        """Where a job stands."""
        with _told():
            return calls.status(visitors.of_event(request), job)

    def result(job: str, request: gr.Request) -> JobResult:
        """What a job made, with addresses of its files."""
        with _told():
            return calls.result(visitors.of_event(request), job, address(request))

    def jobs(limit: int, request: gr.Request) -> list[JobStatus]:
        """The caller's newest jobs, 100 at most."""
        with _told():
            return calls.jobs(visitors.of_event(request), limit)

    def cancel(job: str, request: gr.Request) -> JobStatus:
        """Take a waiting job out of the queue, or stop a running one."""
        with _told():
            return calls.cancel(visitors.of_event(request), job)

    def presets(engine: str, request: gr.Request) -> list[PresetFacts]:
        """The caller's presets; `engine` names one, "" asks for those of all."""
        with _told():
            return calls.presets(visitors.of_event(request), engine)

    def save_preset(
        engine: str, name: str, params: dict[str, Any], request: gr.Request
    ) -> PresetFacts:
        """Keep settings under a name; `submit` and `run` take it as `preset` among the params."""
        with _told():
            return calls.save_preset(visitors.of_event(request), engine, name, params)

    def delete_preset(engine: str, name: str, request: gr.Request) -> PresetFacts:
        """Delete a preset; what was made with it stays."""
        with _told():
            return calls.delete_preset(visitors.of_event(request), engine, name)

    endpoints: list[Callable[..., Any]] = [
        engines, submit, run, status, result, jobs, cancel, presets, save_preset, delete_preset,
    ]  # fmt: skip
    for endpoint in endpoints:
        api(endpoint, api_name=endpoint.__name__, concurrency_limit=None)


def address(request: Any) -> str:
    """The studio's address as the caller knows it."""
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", request.url.scheme).split(",")[0].strip()
    host = headers.get("x-forwarded-host", headers.get("host", ""))
    return f"{'https' if scheme == 'https' else 'http'}://{host}"


@contextmanager
def _told() -> Iterator[None]:
    """Every error as a sentence with its code as the title."""
    try:
        yield
    except Exception as error:
        code, sentence = code_of(error)
        if code == "internal":
            traceback.print_exc()
        raise gr.Error(sentence, title=code, print_exception=False) from error
