"""The separation tab in a real Chromium: naming sounds, hearing and seeing them, taking them."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import Locator, expect

from studio.tabs.separation import SeparationTab
from tests.browser.test_speech import HEARD
from tests.browser.visitor import NEEDS_CHROMIUM, Come, Visitor

pytestmark = NEEDS_CHROMIUM
# Whether a picture has both, colours (what belongs to the sound) and greys (the rest).
COLOURS = """(picture) => {
  const canvas = new OffscreenCanvas(picture.naturalWidth, picture.naturalHeight);
  const drawing = canvas.getContext("2d");
  drawing.drawImage(picture, 0, 0);
  const { data } = drawing.getImageData(0, 0, canvas.width, canvas.height);
  let [grey, colour] = [0, 0];
  for (let at = 0; at < data.length; at += 4) {
    const spread = Math.max(data[at], data[at + 1], data[at + 2])
      - Math.min(data[at], data[at + 1], data[at + 2]);
    if (spread > 60) colour += 1;
    else if (data[at] > 20 && spread < 30) grey += 1;
  }
  return [grey / (data.length / 4), colour / (data.length / 4)];
}"""


def _words(visitor: Visitor, name: str = "query") -> Locator:
    return visitor.page.locator(f"ns-words[for=separation-clipsep-{name}]")


def _named(visitor: Visitor) -> str:
    return visitor.page.locator("#separation-clipsep-query textarea").input_value()


def test_the_example_comes_apart(come: Come) -> None:
    visitor = come()
    page = visitor.page
    visitor.open("separation", session="Example")
    page.get_by_role("button", name=re.compile("Try it with")).click()
    page.locator("#run-separation").click()
    expect(page.locator(".ns-told")).to_contain_text("Name a sound first")
    words = _words(visitor)
    typed = words.get_by_role("textbox", name="Sounds")
    typed.fill("piano")
    typed.press("Enter")
    typed.press_sequentially("birdsong,")
    assert _named(visitor) == "piano\nbirdsong"
    page.locator("#run-separation").click()
    result = page.locator("#ns-result-separation")
    player = page.locator("ns-player")
    expect(player.get_by_role("button", name="Play")).to_be_enabled()
    for label in ("Before", "piano", "birdsong", "Remainder"):
        expect(player.get_by_role("button", name=label, exact=True)).to_be_visible()
    visitor.until_idle()

    # Heard.
    page.keyboard.press(" ")
    for track in (1, 2):
        page.keyboard.press(str(track + 1))
        page.wait_for_function(HEARD, arg=[player.element_handle(), track])
    page.keyboard.press("2")
    player.get_by_role("button", name="Together").click()
    page.keyboard.press("4")
    page.wait_for_function("() => { const all = document.querySelector('ns-player').deck.gains"
                           ".map((one) => one.gain.value > 0.9); return all.join() === "
                           "'false,true,false,true'; }")  # fmt: skip
    page.keyboard.press(" ")

    # Seen.
    for track in (1, 2):
        grey, colour = player.locator("img").nth(track).evaluate(COLOURS)
        assert grey > 0.02, (track, grey, colour)
        assert colour > 0.005, (track, grey, colour)
    expect(player.locator(".spans").nth(1).locator("i").first).to_be_attached()
    expect(player.locator(".spans").nth(0).locator("i")).to_have_count(0)
    expect(result.locator(".ns-grid tbody tr")).to_have_count(2)

    # Taken away: what is in the zip adds up to what went in.
    with page.expect_download() as download:
        result.get_by_role("link", name="All as zip").click()
    example = SeparationTab("Separation", []).example
    assert example is not None
    with zipfile.ZipFile(Path(download.value.path())) as archive:
        names = [f"{example.stem}.{name}.flac"
                 for name in ("piano", "birdsong", "remainder")]  # fmt: skip
        assert archive.namelist() == names
        parts = [soundfile.read(io.BytesIO(archive.read(name)))[0] for name in names]
    assert float(np.abs(sum(parts) - soundfile.read(example)[0]).max()) < 1e-4

    visitor.assert_readable()
    page.locator("[data-theme-toggle]").click()
    visitor.assert_readable()
    visitor.assert_fits(380)


def test_sounds_are_named_by_keyboard_and_by_click_and_stay(come: Come) -> None:
    visitor = come()
    page = visitor.page
    visitor.open("separation", session="Words")
    words = _words(visitor)
    typed = words.get_by_role("textbox", name="Sounds")
    typed.fill("a dog; the rain")
    typed.press("Enter")
    typed.fill("half typed")
    words.get_by_role("group", name="Music").get_by_role("button", name="piano", exact=True).click()
    assert _named(visitor) == "a dog\nthe rain\nhalf typed\npiano"
    offered = words.get_by_role("button", name="piano", exact=True)
    expect(offered).to_have_attribute("aria-pressed", "true")
    offered.click()
    words.get_by_role("button", name="Remove the rain").click()
    typed.press("Backspace")
    assert _named(visitor) == "a dog"
    typed.fill("A DOG")
    typed.press("Enter")
    assert _named(visitor) == "A DOG"
    typed.evaluate("""(input) => {
      const data = new DataTransfer();
      data.setData("text", "wind\\nthunder, far away");
      input.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
    }""")
    assert _named(visitor) == "A DOG\nwind\nthunder\nfar away"
    page.reload()
    expect(_words(visitor).locator(".chip")).to_have_count(4)  # the draft of the form
    expect(_words(visitor).locator(".chip").last).to_contain_text("far away")
    visitor.assert_readable()
    visitor.assert_fits(380)
