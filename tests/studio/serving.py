"""A studio served at 127.0.0.1 in this process, and visitors of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio import Blocks

from engines import registry
from studio.app import free_port, open_page
from studio.config import Settings
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from tests.studio.jobs import engines

Serve = Callable[..., "Page"]


@dataclass
class Page:
    """A served studio."""

    studio: Studio
    blocks: Blocks
    address: str
    stack: ExitStack

    def visitor(self, **headers: str) -> httpx.Client:
        """Somebody with a browser of their own."""
        # Certificates take long to load, and there are none here.
        client = httpx.Client(base_url=self.address, headers=headers, timeout=20, verify=False)
        return self.stack.enter_context(client)

    def run(self, owner: str, path: Path, batch: str | None = None) -> JobView:
        """A finished job of an owner's."""
        session = self.studio.open_session(owner).id
        [job] = self.studio.wait(owner, self.studio.submit(
            owner, session, "demo.big", [[path]], {"times": 2}, batch=batch
        ))  # fmt: skip
        return job


@contextmanager
def serving(home: Callable[[], Path]) -> Iterator[Serve]:
    """Serve studios, each from a home of its own, whatever its settings say."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(registry, "_added", {})
        engines.register()

        def server(**changes: Any) -> Page:
            port = free_port("127.0.0.1", 21_000 + os.getpid() % 20_000)
            settings = Settings(home=home(), executor="inline", device="cpu", port=port)
            studio = Studio(replace(settings, **changes))
            studio.start()
            stack.callback(studio.stop)
            blocks, _ = open_page(studio)
            stack.callback(blocks.close, verbose=False)
            return Page(studio, blocks, f"http://127.0.0.1:{port}", stack)

        yield server
