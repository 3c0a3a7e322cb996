"""One Chromium and one studio for all browser tests; each test opens a session of its own in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.served import Served
from tests.browser.visitor import CHROMIUM, PATIENCE, Come, Visitor


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """A browser whose microphone beeps, and that lets every page have it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking",
                  "--no-first-run", "--use-fake-device-for-media-stream",
                  "--use-fake-ui-for-media-stream"],
        )  # fmt: skip
        expect.set_options(timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A studio with the engines for tests."""
    served = Served(tmp_path_factory.mktemp("served") / "home")
    served.start()
    yield served
    served.stop()


@pytest.fixture
def come(chromium: Browser, served: Served) -> Iterator[Come]:
    """Visitors, by default at the server of all tests; at the end nothing may have gone wrong."""
    visitors: list[Visitor] = []

    def come(at: Served = served, **more: Any) -> Visitor:
        visitors.append(Visitor(chromium, at, **more))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.close()
