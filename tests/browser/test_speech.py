"""The speech tab in a real Chromium: hearing before, after and removed, recording, listening."""

from __future__ import annotations

import re
import wave
from pathlib import Path
from typing import Any

import numpy
import pytest
from playwright.sync_api import Locator, expect

from tests.browser.visitor import NEEDS_CHROMIUM, Come, Visitor

pytestmark = NEEDS_CHROMIUM
RATE = 8000
# The sounds that are to be heard, as the mixing desk has them.
GAINS = "(player) => player.deck.gains.map((one) => one.gain.value)"
# Whether a track's sound arrives at the loudspeaker.
HEARD = """([player, track]) => {
  const gain = player.deck.gains[track];
  if (!player.ear) gain.connect(player.ear = new AnalyserNode(gain.context));
  const samples = new Float32Array(player.ear.fftSize);
  player.ear.getFloatTimeDomainData(samples);
  return Math.max(...samples) > 0.01;
}"""


def _recording(path: Path, seconds: float) -> Path:
    """Noise in a 16-bit WAV of one channel, well below full scale."""
    noise = numpy.random.default_rng(1).normal(0, 3000, round(seconds * RATE))
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
        sound.writeframes(noise.clip(-32768, 32767).astype("<i2").tobytes())
    return path


def _run(visitor: Visitor, path: Path, session: str) -> Locator:
    """Run a file with the engine for tests; the player, once it can play."""
    visitor.open("speech", session=session)
    visitor.send("speech", [path])
    return _run_chosen(visitor, path.name)


def _run_chosen(visitor: Visitor, name: str) -> Locator:
    page = visitor.page
    method = page.locator("#method-speech")
    if method.is_visible():
        method.get_by_text("Softer", exact=True).click()
    page.locator("#run-speech").click()
    expect(page.locator("#ns-result-speech h2")).to_have_text(name)
    player = page.locator("ns-player")
    expect(player.get_by_role("button", name="Play")).to_be_enabled()
    visitor.until_idle()
    return player


def _deck(player: Locator, name: str) -> Any:
    return player.evaluate(f"(player) => player.deck.{name}")


def _press_at(player: Locator, part: str, share: float, lane: int = 0) -> tuple[float, float]:
    """Where on the screen a share of the time axis is, on a lane or on the ruler."""
    box = player.locator(part).nth(lane).bounding_box()
    assert box is not None
    return box["x"] + share * box["width"], box["y"] + box["height"] / 2


def test_before_after_and_removed_are_heard_at_the_same_place(come: Come, tmp_path: Path) -> None:
    visitor = come()
    page = visitor.page
    player = _run(visitor, _recording(tmp_path / "talk.wav", 6), "Player")
    heard = {
        name: player.get_by_role("button", name=name, exact=True)
        for name in ("Before", "After", "Removed")
    }
    expect(heard["After"]).to_have_attribute("aria-pressed", "true")
    expect(player.locator(".lane").first).to_contain_text("\N{MINUS SIGN}12.0 dB")
    for words in ("Noise removed", "Loudness before", "12 dB"):
        expect(page.locator("#ns-result-speech")).to_contain_text(words)

    page.mouse.click(*_press_at(player, ".lane", 0.5, lane=1))
    assert _deck(player, "position") == pytest.approx(3.0, abs=0.02)
    slider = player.get_by_role("slider", name="Position in talk.wav")
    expect(slider).to_have_attribute("aria-valuetext", "3.0 s of 6.0 s, After")
    page.keyboard.press("1")
    expect(heard["Before"]).to_have_attribute("aria-pressed", "true")
    expect(slider).to_have_attribute("aria-valuetext", "3.0 s of 6.0 s, Before")
    page.keyboard.press("ArrowRight")
    assert _deck(player, "position") == pytest.approx(4.0, abs=0.02)

    player.get_by_role("button", name="Repeat").click()
    page.keyboard.press(" ")
    expect(player.get_by_role("button", name="Pause")).to_be_visible()
    page.wait_for_function("document.querySelector('ns-player').deck.position > 4.1")
    assert _deck(player, "transport.sources.length") == 3  # all of them run, one is heard
    page.wait_for_function("document.querySelector('ns-player').deck.gains[0].gain.value > 0.249")
    assert player.evaluate(GAINS) == pytest.approx([0.25, 0, 0], abs=0.002)
    player.get_by_role("button", name="Equal loudness").click()
    page.wait_for_function("document.querySelector('ns-player').deck.gains[0].gain.value > 0.99")
    expect(player.locator(".lane").first).not_to_contain_text("dB")
    heard["Removed"].click()
    page.wait_for_function(HEARD, arg=[player.element_handle(), 2])
    page.keyboard.press("b")
    expect(heard["Before"]).to_have_attribute("aria-pressed", "true")
    page.keyboard.down("2")
    page.keyboard.down("\\")
    expect(heard["Before"]).to_have_attribute("aria-pressed", "true")
    page.keyboard.up("\\")
    expect(heard["After"]).to_have_attribute("aria-pressed", "true")

    # Another tab has no player to stop it with.
    visitor.tab("library")
    wave = page.locator("ns-library .card .wave i").first
    expect(wave).to_have_attribute("style", re.compile("studio/thumb/"))
    visitor.tab("speech")
    expect(player.get_by_role("button", name="Play")).to_be_visible()
    assert 0 < _deck(player, "position") <= 6


def test_a_part_is_repeated_and_looked_at_closely(come: Come, tmp_path: Path) -> None:
    visitor = come()
    page = visitor.page
    player = _run(visitor, _recording(tmp_path / "part.wav", 8), "Part")
    page.mouse.move(*_press_at(player, ".ruler", 0.25))
    page.mouse.down()
    page.mouse.move(*_press_at(player, ".ruler", 0.4), steps=3)
    page.mouse.up()
    assert _deck(player, "loop") == pytest.approx([2.0, 3.2], abs=0.05)
    repeat = player.get_by_role("button", name="Repeat")
    expect(repeat).to_have_attribute("aria-pressed", "true")
    page.keyboard.press(" ")
    page.wait_for_function("document.querySelector('ns-player').deck.position > 2.5")
    page.wait_for_function("document.querySelector('ns-player').deck.position < 2.5")  # again
    page.keyboard.press(" ")
    assert 2.0 <= _deck(player, "position") <= 3.3
    page.keyboard.press("l")
    expect(repeat).to_have_attribute("aria-pressed", "false")
    player.get_by_role("slider").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("[")
    assert _deck(player, "loop") == pytest.approx([5.0, 8.0], abs=0.05)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("]")
    assert _deck(player, "loop") == pytest.approx([5.0, 6.0], abs=0.05)

    labels = player.locator(".ruler span")
    expect(labels.first).to_have_text(re.compile("^0:00"))
    player.get_by_role("button", name="Show less time").click()
    expect(labels.first).not_to_have_text(re.compile("^0:00"))
    page.mouse.click(*_press_at(player, ".lane", 0.0))
    assert _deck(player, "position") == pytest.approx(_deck(player, "zoom.start"), abs=0.05)
    player.get_by_role("button", name="Whole").click()
    expect(labels.first).to_have_text(re.compile("^0:00"))


def test_what_plays_goes_on_while_the_panel_is_drawn_anew(come: Come, tmp_path: Path) -> None:
    visitor = come()
    page = visitor.page
    player = _run(visitor, _recording(tmp_path / "again.wav", 30), "Redrawn")
    player.get_by_role("button", name="Repeat").click()
    page.keyboard.press(" ")
    page.wait_for_function("document.querySelector('ns-player').deck.position > 0.2")
    visitor.setting("demo-sound-linger").first.fill("4")
    page.locator("#run-speech").click()
    expect(page.locator("#ns-result-speech .ns-batch")).to_contain_text("being processed")
    expect(player.get_by_role("button", name="Pause")).to_be_visible()
    assert _deck(player, "position") > 0.2
    assert _deck(player, "loop") == [0, 30]
    page.wait_for_function(HEARD, arg=[player.element_handle(), 1])
    visitor.until_idle()
    expect(player.get_by_role("button", name="Play")).to_be_visible()  # that is another result
    assert _deck(player, "position") == 0


def test_a_long_recording_is_streamed_and_stays_in_step(come: Come, tmp_path: Path) -> None:
    visitor = come()
    page = visitor.page
    player = _run(visitor, _recording(tmp_path / "long.wav", 100), "Long")
    assert _deck(player, "transport.elements.length") == 3
    page.mouse.click(*_press_at(player, ".lane", 0.5, lane=1))
    page.keyboard.press(" ")
    page.wait_for_function("document.querySelector('ns-player').deck.position > 50.3")
    apart = """() => {
      const { lead, elements } = document.querySelector("ns-player").deck.transport;
      const late = elements.map((one) => Math.abs(one.currentTime - lead.currentTime));
      return !lead.paused && Math.max(...late) < 0.02;
    }"""
    page.wait_for_function(apart)
    before, after = player.evaluate("""(player) => {
      const at = player.deck.position;
      player.shadowRoot.querySelector("[data-track='2']").click();
      return [at, player.deck.position];
    }""")
    assert after == pytest.approx(before, abs=0.05)
    page.wait_for_function(HEARD, arg=[player.element_handle(), 2])
    page.wait_for_function(apart)
    page.keyboard.press(" ")
    page.keyboard.press("ArrowLeft")
    expect(player.get_by_role("button", name="Play")).to_be_visible()


def test_a_recording_is_made_listened_to_and_run(come: Come) -> None:
    visitor = come()
    page = visitor.page
    visitor.open("speech", session="Recorded")
    recorder = page.locator("ns-record")
    recorder.get_by_role("button", name="Record").click()
    expect(recorder.get_by_role("timer")).to_have_text("0:02")
    visitor.assert_readable()
    recorder.get_by_role("button", name="Stop").click()
    files = page.locator("#ns-files-speech")
    expect(files).to_contain_text(re.compile(r"recording \d{4}-\d\d-\d\d \d\d\.\d\d\.wav"))
    expect(files).to_contain_text(re.compile(r"0:0\d\s+[\d.]+ kHz, mono, 16-bit, WAV"))
    expect(recorder.get_by_role("button", name="Record")).to_be_visible()

    listen = files.locator("ns-listen")
    listen.get_by_role("button", name="Listen to recording").click()
    expect(listen.get_by_role("button", name="Pause recording")).to_be_visible()
    name = str(listen.get_attribute("name"))
    player = _run_chosen(visitor, name)
    page.keyboard.press(" ")
    page.wait_for_function(HEARD, arg=[player.element_handle(), 1])
    assert listen.evaluate("(one) => !one.audio || one.audio.paused")  # one sound at a time
    visitor.assert_readable()
    page.locator("[data-theme-toggle]").click()
    visitor.assert_readable()
    visitor.assert_fits(380)


def test_what_is_no_sound_says_so_and_cannot_be_played(come: Come, tmp_path: Path) -> None:
    text = tmp_path / "notes.wav"
    text.write_text("these are words")
    visitor = come()
    visitor.open("speech", session="Text")
    visitor.send("speech", [text])
    files = visitor.page.locator("#ns-files-speech")
    expect(files.locator(".problem").last).to_contain_text("notes.wav is text, not sound")
    expect(files.locator("ns-listen")).to_have_count(0)


def test_the_example_is_cleaned_by_the_weights_that_ship(come: Come) -> None:
    visitor = come()
    page = visitor.page
    visitor.open("speech", session="Example")
    page.get_by_role("button", name=re.compile("Try it with")).click()
    method = page.locator("#method-speech")
    if method.is_visible():
        method.get_by_text("StoRM", exact=True).click()
    page.locator("#run-speech").click()
    result = page.locator("#ns-result-speech")
    expect(result.locator("h2")).to_have_text("voice-beside-a-fan.flac")
    player = page.locator("ns-player")
    expect(player.get_by_role("button", name="Play")).to_be_enabled()
    for words in ("Noise removed", "voice-beside-a-fan-clean.flac", "Above 8 kHz"):
        expect(result).to_contain_text(words)
    visitor.until_idle()
