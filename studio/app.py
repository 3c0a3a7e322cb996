"""The page's composition and how it is served."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import webbrowser
from collections.abc import Mapping
from types import FrameType
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from engines import registry
from engines.base import Engine, UserError
from studio.api.endpoints import add_endpoints
from studio.config import Settings
from studio.examples import prepare
from studio.guard import VisitorMiddleware
from studio.http import StudioRoutes
from studio.jobs.service import Studio
from studio.jobs.visited import Visited
from studio.library.service import Sweeper
from studio.model_routes import ModelRoutes
from studio.page import Page
from studio.passwords import Passwords
from studio.retention import Retention
from studio.scene import tab_id
from studio.tabs.generic import MethodTab
from studio.tabs.quantize import QuantizeTab
from studio.tabs.raw import RawTab
from studio.tabs.separation import SeparationTab
from studio.tabs.speech import SpeechTab
from studio.tabs.superres import SuperresTab
from studio.theme import FAVICON, head, studio_theme
from studio.uploads import Uploads
from studio.visitors import Visitors

_MADE_BY_HAND: Mapping[str, type[MethodTab]] = {
    "raw": RawTab, "super-resolution": SuperresTab, "speech": SpeechTab,
    "separation": SeparationTab, "quantization": QuantizeTab,
}  # fmt: skip
_STATES = 300  # pages that are open at once; Gradio takes a megabyte for each
_PORTS = 100
_WORDS = {  # Gradio's own words on its drop zone
    "upload_text.drop_file": "Drop files here",
    "upload_text.drop_multiple_files": "Drop files here",
    "upload_text.click_to_upload": "or choose them",
}


def build_app(studio: Studio) -> gr.Blocks:
    """The page of a studio: one tab for each kind of engine in the registry."""
    os.environ["GRADIO_TEMP_DIR"] = str(studio.settings.temporary.resolve())
    with gr.Blocks(title="Noise Studio", fill_width=True, analytics_enabled=False) as blocks:
        Page(blocks, studio, Visitors(studio.settings), _tabs())
        add_endpoints(studio, Visitors(studio.settings))
    return blocks.queue(api_open=False, default_concurrency_limit=None)


def _tabs() -> list[MethodTab]:
    engines: dict[str, list[type[Engine]]] = {}
    for engine_id in registry.engine_ids():
        engine = registry.engine_class(engine_id)
        engines.setdefault(engine.tab, []).append(engine)
    return [
        _MADE_BY_HAND.get(tab_id(title), MethodTab)(title, group)
        for title, group in engines.items()
    ]


def launch_options(studio: Studio) -> dict[str, Any]:
    """Arguments of `gr.Blocks.launch`: nothing leaves the machine, or is open without need."""
    settings = studio.settings
    visitors, passwords = Visitors(settings), Passwords(settings.auth)
    routes = [Uploads(studio, visitors).route()]
    routes += StudioRoutes(studio, visitors, secrets.token_hex(8)).routes()
    routes += ModelRoutes(studio, visitors).routes()
    lifespan = None
    if settings.mcp:
        from studio.api.tools import Tools  # its library takes a second to import

        tools = Tools(studio, visitors)
        routes, lifespan = [*routes, *tools.routes()], tools.lifespan
    return {
        "server_name": settings.host,
        "share": settings.share,
        "auth": passwords if settings.auth else None,
        "quiet": True,
        "prevent_thread_lock": True,
        "inbrowser": False,
        "show_error": False,
        "run_history": False,
        "enable_monitoring": False,
        "mcp_server": False,
        "ssr_mode": False,
        "pwa": False,
        "strict_cors": True,
        # Gradio would give up where the page is not answered within 3 s, as on a busy machine; that
        # the server answers it has found out before.
        "_frontend": False,
        "state_session_capacity": _STATES,
        "footer_links": [],
        "max_file_size": settings.max_upload_mb * 1024 * 1024,
        "i18n": gr.I18n(en=_WORDS),
        "theme": studio_theme(),
        "head": head(),
        "favicon_path": str(FAVICON),
        "app_kwargs": {
            "routes": routes,
            "lifespan": lifespan,
            "middleware": [Middleware(VisitorMiddleware, settings=settings, passwords=passwords)],
        },
    }


def open_page(studio: Studio) -> tuple[gr.Blocks, str]:
    """Serve the page in a background thread; returns it and its address.

    Raises:
        UserError: no port is free, or the address cannot be listened on.
    """
    settings = studio.settings
    blocks = build_app(studio)
    port = free_port(settings.host, settings.port)
    try:
        _, address, _ = blocks.launch(server_port=port, **launch_options(studio))
    except OSError as error:
        raise UserError(f"The page could not be served at {settings.host}:{port}") from error
    return blocks, address


def free_port(host: str, first: int) -> int:
    """The first port from `first` on that nobody listens on.

    Raises:
        UserError: the next hundred are all taken, or this machine has no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(first, first + _PORTS):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise UserError(
        f"No port from {first} to {first + _PORTS - 1} is free at {host}; choose another"
    )


def serve(studio: Studio, settings: Settings) -> None:
    """Serve the page until Ctrl-C or SIGTERM; prints the address in one line.

    Raises:
        UserError: the page cannot be served.
    """
    blocks, address = open_page(studio)
    sweeper, retention = Sweeper(studio), Retention(studio, Visited(studio.factory))
    sweeper.start()
    retention.start()
    if settings.shared:
        prepare(studio, [(tab.engines[0].id, tab.example) for tab in _tabs() if tab.example])
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        busy = "" if f":{settings.port}/" in address else f" (port {settings.port} is taken)"
        print(f"Noise Studio is open at {address}{busy}; Ctrl-C stops it", flush=True)  # noqa: T201
        if settings.open_browser:
            webbrowser.open(address)
        while not stopped.wait(0.5):
            pass
    finally:
        retention.stop()
        sweeper.stop()
        blocks.close(verbose=False)
        for number, handler in before.items():
            signal.signal(number, handler)
