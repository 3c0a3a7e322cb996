"""The super-resolution tab in a real Chromium: a region at once, then the whole, compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.browser.visitor import NEEDS_CHROMIUM, Come, Visitor
from tests.engines.media.make_film import film, moving

pytestmark = NEEDS_CHROMIUM
TAB = "super-resolution"
RESULT = f"#ns-result-{TAB}"
TO = "\N{RIGHTWARDS ARROW}"
SHOWN = "(one) => one.images.after.naturalWidth"


def _photo(path: Path, width: int = 240, height: int = 160) -> Path:
    noise = numpy.random.default_rng(3).integers(0, 255, (height // 8, width // 8, 3), numpy.uint8)
    Image.fromarray(noise).resize((width, height)).save(path, quality=92)
    return path


def _filters(visitor: Visitor) -> None:
    """Choose the method that needs no weights."""
    method = visitor.page.locator(f"#method-{TAB}")
    field = method.get_by_role("combobox")
    if field.count():  # of many methods one is chosen from a list
        field.click()
        visitor.page.get_by_role("option", name="Lanczos and bicubic").click()
    else:
        method.get_by_text("Lanczos and bicubic", exact=True).click()


def _open(visitor: Visitor, session: str, *pictures: Path) -> Locator:
    """The tab with pictures sent and filters chosen; its preview, once there is a region."""
    visitor.open(TAB, session=session)
    _filters(visitor)
    visitor.send(TAB, pictures)
    preview = visitor.page.locator("ns-region")
    expect(preview.locator("ns-compare")).to_be_visible()
    return preview


def _scale(visitor: Visitor, times: str) -> None:
    visitor.page.locator("#superres-classical-scale").get_by_text(times, exact=True).click()


def _state(preview: Locator, name: str) -> Any:
    return preview.evaluate(f"(one) => one.state.{name}")


def _until_at(visitor: Visitor, left: int, top: int) -> None:
    """Wait until the region that is shown lies there."""
    visitor.page.wait_for_function(
        """([left, top]) => {
          const { found } = document.querySelector("ns-region").state.shown ?? {};
          return found?.left === left && found.top === top;
        }""",
        arg=[left, top],
    )


def test_a_region_follows_the_pointer_and_the_settings(come: Come, tmp_path: Path) -> None:
    visitor = come()
    page = visitor.page
    preview = _open(visitor, "Region", _photo(tmp_path / "photo.jpg"))
    facts, compare = preview.locator(".facts"), preview.locator("ns-compare")
    expect(facts).to_contain_text(re.compile(rf"128 x 128 {TO} 512 x 512 in [\d.]+ s"))
    expect(facts).to_contain_text(re.compile(r"The whole picture about \d+ s"))
    line = page.locator(f"#ns-files-{TAB} ns-becomes")
    expect(line).to_contain_text(re.compile(r"960 x 640\s*about \d+ kB\s*\d+ s"))
    assert compare.evaluate(SHOWN) == 512

    stage = preview.locator(".whole .stage")
    box = stage.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    expect(preview.locator(".aim")).to_have_css("opacity", "1")
    page.mouse.click(box["x"] + 5, box["y"] + 5)
    _until_at(visitor, 0, 0)
    stage.focus()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    _until_at(visitor, 112, 32)

    _scale(visitor, "2x")  # another setting enlarges the same place anew
    expect(facts).to_contain_text(re.compile(f"{TO} 384 x 320"))
    expect(line).to_contain_text("480 x 320")
    # Strength is a matter of the browser alone.
    before = _state(preview, "shown.after")
    strength = page.locator("#superres-classical-strength").get_by_role("spinbutton")
    strength.fill("0.4")
    strength.press("Tab")
    expect(compare).to_have_attribute("strength", "0.4")
    expect(compare.locator(".after .top")).to_have_css("opacity", "0.4")
    assert _state(preview, "shown.after") == before
    expect(visitor.library("Region")).to_have_count(0)
    visitor.tab(TAB)
    visitor.assert_readable()
    page.locator("[data-theme-toggle]").click()
    visitor.assert_readable()
    visitor.assert_fits(390)


def test_a_picture_is_run_compared_at_100_percent_and_downloaded(
    come: Come, tmp_path: Path
) -> None:
    visitor = come()
    page = visitor.page
    pictures = [_photo(tmp_path / "one.jpg"), _photo(tmp_path / "two.png", 64, 48)]
    preview = _open(visitor, "Whole", *pictures)
    preview.locator("select").select_option("two.png")
    expect(preview.locator(".facts")).to_contain_text(f"64 x 48 {TO} 256 x 192")
    _scale(visitor, "3x")
    expect(preview.locator(".facts")).to_contain_text(f"64 x 48 {TO} 192 x 144")
    visitor.run(TAB)
    result = page.locator(RESULT)
    visitor.until_idle()
    expect(result.locator(".ns-batch")).to_contain_text("2 of 2 done")
    result.locator(".ns-strip button", has_text="one.jpg").click()
    expect(result.locator("h2 bdi")).to_have_text("one.jpg")
    expect(preview.locator("ns-compare")).to_be_hidden()  # the result is what one wants to see
    compare = result.locator("ns-compare")
    expect(compare.get_by_text("Lanczos", exact=True)).to_be_visible()
    expect(compare.get_by_text("Enlarged", exact=True)).to_be_visible()
    compare.get_by_role("button", name="100 %").click()
    expect(compare.get_by_role("status")).to_be_hidden()
    drawn = compare.evaluate("(one) => one.images.after.getBoundingClientRect().width")
    assert drawn == 720
    expect(result.locator(".ns-headline")).to_contain_text("720")

    with page.expect_download() as coming:
        result.locator(".ns-download").first.click()
    made = tmp_path / "made.jpg"
    coming.value.save_as(made)
    assert coming.value.suggested_filename == "one-lanczos-3x.jpg"
    with Image.open(made) as image:
        assert (image.format, image.size) == ("JPEG", (720, 480))

    page.reload()  # the result stays, and so does what can be looked at
    expect(result.locator("h2 bdi")).to_have_text("one.jpg")
    _filters(visitor)
    preview.get_by_role("button", name="Look at a part").click()
    expect(preview.locator("ns-compare")).to_be_visible()
    visitor.until_idle()


def test_what_is_no_picture_says_so(come: Come, tmp_path: Path) -> None:
    text = tmp_path / "notes.png"
    text.write_text("these are words")
    visitor = come()
    visitor.open(TAB, session="Text")
    visitor.send(TAB, [text])
    files = visitor.page.locator(f"#ns-files-{TAB}")
    expect(files.locator(".problem").last).to_contain_text("notes.png")
    expect(visitor.page.locator("ns-region")).to_have_count(0)


def test_touch_compares_and_takes_a_region(come: Come, tmp_path: Path) -> None:
    visitor = come(touch=True)
    page = visitor.page
    preview = _open(visitor, "Touch", _photo(tmp_path / "photo.jpg"))
    page.set_viewport_size({"width": 390, "height": 844})
    compare, stage = preview.locator("ns-compare"), preview.locator(".whole .stage")
    page.wait_for_function("() => document.querySelector('ns-region').state.shown")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + 5, box["y"] + 5)
    _until_at(visitor, 0, 0)

    compare.get_by_role("button", name="Fit").tap()
    inside = compare.locator(".stage")
    inside.scroll_into_view_if_needed()
    inside.evaluate(FINGERS, [[[0.5, 0.5], [0.2, 0.5]]])
    assert compare.evaluate("(one) => Math.round(one.view.divider)") == 20
    inside.evaluate(FINGERS, [[[0.45, 0.5], [0.2, 0.5]], [[0.55, 0.5], [0.8, 0.5]]])  # a pinch
    assert compare.evaluate("(one) => one.view.zoom") != "fit"
    assert compare.evaluate("(one) => Math.round(one.view.divider)") == 20
    # At 100 % the picture is larger than the phone; a finger moves it, and not the page.
    compare.get_by_role("button", name="100 %").tap()
    expect(inside).to_have_css("touch-action", "none")
    before = compare.evaluate("(one) => one.view.x")
    inside.evaluate(FINGERS, [[[0.6, 0.5], [0.4, 0.5]]])
    assert compare.evaluate("(one) => one.view.x") > before
    visitor.assert_fits(390)


# Fingers on the element, each from one place to another in shares of it, in ten moves together.
FINGERS = """(stage, fingers) => {
  const box = stage.getBoundingClientRect();
  stage.setPointerCapture = () => {};  // no real finger is down
  const tell = (kind, at) => fingers.forEach(([from, to], id) => stage.dispatchEvent(
    new PointerEvent(kind, { pointerId: 7 + id, pointerType: "touch", bubbles: true, composed: true,
      clientX: box.left + box.width * (from[0] + (to[0] - from[0]) * at),
      clientY: box.top + box.height * (from[1] + (to[1] - from[1]) * at) })));
  tell("pointerdown", 0);
  for (let n = 1; n <= 10; n += 1) tell("pointermove", n / 10);
  tell("pointerup", 1);
}"""


def test_a_brush_paints_what_is_to_be_filled(come: Come, tmp_path: Path) -> None:
    visitor = come()
    page = visitor.page
    visitor.open(TAB, session="Brush")
    page.locator(f"#method-{TAB}").get_by_role("combobox").click()
    page.get_by_role("option", name="RED-Diff").click()
    _task(visitor, "Inpaint")
    visitor.send(TAB, [_photo(tmp_path / "torn.png", 96, 64)])
    preview = page.locator("ns-region")
    stage = preview.locator(".whole .stage")
    expect(stage).to_have_class(re.compile("painting"))
    expect(preview.locator("ns-compare")).to_have_attribute("right", "Filled")

    def kept() -> Any:
        return json.loads(page.locator("#superres-reddiff-strokes textarea").input_value() or "{}")

    box = stage.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 3 / 4, steps=8)
    page.mouse.up()
    [[radius, *points]] = kept()["torn.png"]
    assert (radius, points[:2], points[-2:]) == (2, [24, 32], [48, 48])
    stage.focus()
    page.keyboard.press("Enter")  # a dot in the middle of the frame
    assert kept()["torn.png"][1:] == [[2, 48, 32]]
    expect(preview.locator(".paint path")).to_have_count(2)
    page.wait_for_function(
        """() => {
          const { shown, asking } = document.querySelector("ns-region").state;
          return !asking && shown?.wanted.includes("48,32");
        }"""
    )
    visitor.assert_readable()
    visitor.assert_fits(390)
    preview.locator(".undo").click()
    assert len(kept()["torn.png"]) == 1
    preview.locator(".clear").click()
    assert kept() == {}
    expect(preview.locator(".paint path")).to_have_count(0)
    # After a refusal nothing stays where the last picture was.
    _task(visitor, "JPEG")
    expect(preview.locator(".now.wrong")).to_contain_text("give its JPEG quality")
    expect(preview.locator("ns-compare")).to_be_hidden()
    expect(preview.locator(".tools")).to_be_hidden()


def _task(visitor: Visitor, name: str) -> None:
    visitor.page.locator("#superres-reddiff-task").get_by_role("combobox").click()
    visitor.page.get_by_role("option", name=name).click()


def test_a_film_is_told_from_a_picture_run_and_played(come: Come, tmp_path: Path) -> None:
    visitor = come()
    page = visitor.page
    clip = film(tmp_path / "clip.mp4", moving(30, 90, 160, 2), sound="aac")
    visitor.open(TAB, session="Film")
    visitor.send(TAB, [clip])
    expect(page.locator(f"#ns-files-{TAB}")).to_contain_text("25 frames a second")
    page.locator(f"#run-{TAB}").click()  # with a method for pictures
    expect(page.get_by_text("choose NegVSR (films)")).to_be_visible()
    method = page.locator(f"#method-{TAB}")
    method.get_by_role("combobox").click()
    page.get_by_role("option", name="NegVSR (films)").click()
    page.locator("#superres-negvsr-preview").get_by_role("checkbox").check()
    visitor.run(TAB)
    visitor.until_idle()
    result = page.locator(RESULT)
    expect(result.locator(".ns-headline")).to_contain_text("25")
    player = result.locator("video.ns-film")
    expect(player).to_be_visible()
    page.wait_for_function("() => document.querySelector('video.ns-film').readyState > 0")
    seen = player.evaluate("(one) => [one.videoWidth, one.videoHeight, one.duration, one.error]")
    assert (seen[0], seen[1], round(seen[2]), seen[3]) == (640, 360, 1, None)
    expect(result.locator("ns-compare")).to_have_count(1)
    visitor.assert_readable()
    visitor.assert_fits(390)
