"""The pictures in docs/, taken from a real studio that does each tab's example.

Every tab gives `<tab>-tab.jpg`, the page with its result, and where a result is compared
`<tab>-pair.jpg`, the comparison alone at 100 %. The library shows what all of them made.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from engines.base import UserError
from studio.bench.served import served
from studio.docs.tables import ROOT

DOCS = ROOT / "docs"
_PORT = 7940
_SIZE = (1440, 1080)
_PATIENCE = 300_000  # milliseconds; a model is quantized meanwhile
_JPEG: dict[str, Any] = {"type": "jpeg", "quality": 88}  # noise makes PNG five times as long
_SETTLE = 2000  # milliseconds in which pictures are drawn and scrolling ends
# tab in the page -> name of its pictures, and what is compared there
_TABS = {
    "raw": ("raw", "ns-compare"),
    "super-resolution": ("superres", "ns-compare"),
    "speech": ("speech", "ns-player"),
    "separation": ("separation", "ns-player"),
    "quantization": ("quantize", ""),
}
# tabs that are looked at when all examples are done, and pixels of height that show what is there
_LATER = {"library": 560, "recipes": 1080, "models": 1080}
_SOUNDS = ("piano", "birdsong")


def take(only: Collection[str] = ()) -> Iterator[Path]:
    """Take them all, or those of the tabs that are named; yields each path once it is written.

    Raises:
        UserError: there is no Chromium, or no such tab.
    """
    known = [*(name for name, _ in _TABS.values()), *_LATER]
    if unknown := sorted(set(only) - set(known)):
        raise UserError(f"There are no pictures of {unknown[0]}; there are {', '.join(known)}")
    wanted = set(only or known)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise UserError("Pictures need Chromium; Debian has it: apt-get install chromium")
    with (
        TemporaryDirectory() as home,
        served(Path(home), _PORT) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        expect.set_options(timeout=_PATIENCE)
        page = browser.new_page(
            viewport={"width": _SIZE[0], "height": _SIZE[1]}, color_scheme="light",
            reduced_motion="reduce",
        )  # fmt: skip
        page.set_default_timeout(_PATIENCE)
        page.add_init_script("localStorage.setItem('noise-studio-toured', '1')")
        for tab, (name, compared) in _TABS.items():
            if name not in wanted and "library" not in wanted:
                continue
            page.goto(f"{address}?tab={tab}")
            _do_example(page, tab)
            if name in wanted:
                if compared:
                    yield _take_pair(page, tab, compared, DOCS / f"{name}-pair.jpg")
                page.locator(f"#ns-result-{tab}").scroll_into_view_if_needed()
                yield _take_page(page, DOCS / f"{name}-tab.jpg")
        for tab in [one for one in _LATER if one in wanted]:
            page.goto(f"{address}?tab={tab}")
            expect(page.locator(f"#ns-{tab}")).not_to_be_empty()
            page.set_viewport_size({"width": _SIZE[0], "height": _LATER[tab]})
            yield _take_page(page, DOCS / f"{tab}-tab.jpg")
        browser.close()


def _do_example(page: Page, tab: str) -> None:
    """Press what a newcomer would press, and wait for the result."""
    page.locator(
        f"#ns-files-{tab} [data-do=example], #ns-files-{tab} [data-do=known]"
    ).first.click()
    expect(page.locator(f"#ns-files-{tab} .ns-files li")).to_have_count(1)
    if tab == "separation":
        typed = page.locator("ns-words[for=separation-clipsep-query]").get_by_role("textbox")
        for sound in _SOUNDS:
            typed.fill(sound)
            typed.press("Enter")
    page.locator(f"#run-{tab}").click()
    expect(page.locator(f"#ns-result-{tab} .ns-state").first).to_have_text("done")
    expect(page.locator(".ns-dock")).to_have_count(0)


def _take_pair(page: Page, tab: str, compared: str, path: Path) -> Path:
    shown = page.locator(f"#ns-result-{tab} {compared}")
    if compared == "ns-compare":
        shown.get_by_role("button", name="100 %", exact=True).click()
    else:
        expect(shown.get_by_role("button", name="Play")).to_be_enabled()
    shown.scroll_into_view_if_needed()
    page.wait_for_timeout(_SETTLE)
    shown.screenshot(path=path, **_JPEG)
    return path


def _take_page(page: Page, path: Path) -> Path:
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(_SETTLE)
    page.screenshot(path=path, **_JPEG)
    return path
