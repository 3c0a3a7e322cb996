"""The RAW tab in a real Chromium: brightening seen while it is set up, and its network trained."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import Locator, Route, expect

from tests.browser.visitor import NEEDS_CHROMIUM, Come, Visitor
from tests.engines.raw.make_frames import write_set

pytestmark = NEEDS_CHROMIUM
TAB = "raw"
RAW = Path(__file__).parents[1] / "data" / "raw" / "colorchart.dng"
PHOTO = Path(__file__).parents[1] / "data" / "photos" / "03-handwritten-notes.png"


def _open(visitor: Visitor, session: str, *files: Path) -> Locator:
    """The tab with files sent and NoiSER chosen; its preview, once it shows something."""
    visitor.open(TAB, session=session)
    visitor.send(TAB, files)
    expect(visitor.page.locator("ns-live")).to_be_hidden()
    _choose(visitor, f"method-{TAB}", "NoiSER")
    preview = visitor.page.locator("ns-live")
    expect(preview.locator("ns-compare")).to_be_visible()
    return preview


def _choose(visitor: Visitor, field: str, said: str) -> None:
    """Choose from a list that is folded up."""
    visitor.page.locator(f"#{field}").get_by_role("combobox").click()
    visitor.page.get_by_role("option", name=said).click()


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


def test_a_trained_network_is_kept_and_brightens(come: Come) -> None:
    visitor = come()
    page = visitor.page
    preview = _open(visitor, "Kept", PHOTO)

    def shorter(route: Route) -> None:
        asked = json.loads(route.request.post_data or "{}")
        if asked.get("engine") != "raw.train":
            route.continue_()
        else:
            route.continue_(post_data=json.dumps(asked | {"values": {"steps": 20}}))

    page.route(re.compile(r"/studio/region/[^/]+/[^/]+/[^/]+$"), shorter)
    preview.get_by_text("Train the network here").click()
    preview.get_by_role("button", name="Start").click()
    expect(preview.locator(".now")).to_have_text("Trained")
    expect(preview.locator(".loss")).to_contain_text("of 20 steps")
    preview.get_by_role("button", name="Keep as mine").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("By hand")
    page.keyboard.press("Enter")
    expect(page.locator(".ns-told")).to_contain_text("By-hand can now be chosen as weights")
    preview.locator(".fold").click()  # else it may ask for the file just when the job takes it
    page.get_by_role("button", name="Advanced").click()
    _choose(visitor, "raw-noiser-weights", "By-hand")
    visitor.run(TAB)
    visitor.until_idle()
    expect(page.locator(f"#ns-result-{TAB}")).to_contain_text("By-hand (")


def test_a_camera_is_calibrated_and_its_noise_put_on_a_picture(come: Come, tmp_path: Path) -> None:
    visitor = come()
    page = visitor.page
    files = write_set(tmp_path, (3200.0,), darks=3, flats=(0.1, 0.4), size=(256, 320))
    visitor.open(TAB, session="Camera")
    visitor.send(TAB, files)
    _choose(visitor, f"method-{TAB}", "Calibrate camera")
    visitor.run(TAB)
    visitor.until_idle()
    result = page.locator(f"#ns-result-{TAB}")
    expect(result).to_contain_text("Dark frames")
    expect(result).to_contain_text("ISO 3200")
    visitor.assert_readable()
    visitor.assert_fits(390)
    page.set_viewport_size({"width": 1440, "height": 900})

    visitor.open(TAB, session="Simulated")
    visitor.send(TAB, files[-1:])
    _choose(visitor, f"method-{TAB}", "Simulate noise")
    _choose(visitor, "raw-simulate-profile", "acme-one")
    visitor.run(TAB)
    visitor.until_idle()
    expect(result.locator("h2 bdi")).to_have_text(files[-1].name)
    expect(result).to_contain_text("acme-one")
