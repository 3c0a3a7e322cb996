"""The RAW tab in a real Chromium: brightening seen while it is set up, and its network trained."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, expect

from tests.browser.visitor import NEEDS_CHROMIUM, Come, Visitor

pytestmark = NEEDS_CHROMIUM
TAB = "raw"
RAW = Path(__file__).parents[1] / "data" / "raw" / "colorchart.dng"
PHOTO = Path(__file__).parents[1] / "data" / "photos" / "03-handwritten-notes.png"


def _open(visitor: Visitor, session: str, *files: Path) -> Locator:
    """The tab with files sent and NoiSER chosen; its preview, once it shows something."""
    visitor.open(TAB, session=session)
    visitor.send(TAB, files)
    expect(visitor.page.locator("ns-live")).to_be_hidden()
    method = visitor.page.locator(f"#method-{TAB}")
    field = method.get_by_role("combobox")
    if field.count():  # of many methods one is chosen from a list
        field.click()
        visitor.page.get_by_role("option", name="NoiSER").click()
    else:
        method.get_by_text("NoiSER", exact=True).click()
    preview = visitor.page.locator("ns-live")
    expect(preview.locator("ns-compare")).to_be_visible()
    return preview


def test_the_preview_follows_a_slider_and_the_result_is_compared(come: Come) -> None:
    visitor = come()
    preview = _open(visitor, "Live", RAW, PHOTO)
    facts, compare = preview.locator(".facts"), preview.locator("ns-compare")
    expect(facts).to_contain_text(re.compile(r"Brighter by -?\d\.\d EV"))
    before = compare.get_attribute("after")
    assert before is not None
    brightness = visitor.page.locator("#raw-noiser-brightness").get_by_role("spinbutton")
    brightness.fill("0.55")
    brightness.press("Tab")
    expect(compare).not_to_have_attribute("after", before)
    preview.locator("select").select_option(PHOTO.name)
    expect(compare).to_have_attribute("alt", f"{PHOTO.name}, brightened")
    visitor.assert_readable()
    visitor.page.locator("[data-theme-toggle]").click()
    visitor.assert_readable()
    visitor.assert_fits(390)


def test_a_network_is_trained_stopped_and_gone_on_with(come: Come) -> None:
    visitor = come()
    preview = _open(visitor, "Training", PHOTO)
    preview.get_by_text("Train the network here").click()
    preview.get_by_role("button", name="Start").click()
    expect(preview.locator(".loss")).to_contain_text(re.compile(r"after \d+ of 2000 steps"))
    expect(preview.locator(".learned img")).to_be_visible()
    preview.get_by_role("button", name="Stop").click()
    expect(preview.locator(".now")).to_have_text("Stopped; Start goes on where it was")
    visitor.until_idle()
