"""The quantization tab in a real Chromium: a small model in, a smaller one out, both asked."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.visitor import NEEDS_CHROMIUM, Come, Visitor
from tests.language_models import write_model, zipped

pytestmark = [*NEEDS_CHROMIUM, pytest.mark.timeout(600)]
SLOW = 300_000  # milliseconds; the worker imports transformers first
RESULT = "#ns-result-quantization"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of two layers."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny-llama")


def _quick(visitor: Visitor) -> None:
    """Round to the nearest, with little text to measure on."""
    page = visitor.page
    method = page.locator("#method-quantization")
    field = method.get_by_role("combobox")
    if field.count():  # of many methods one is chosen from a list
        field.click()
        page.get_by_role("option", name="Round to nearest").click()
    else:
        method.get_by_text("Round to nearest", exact=True).click()
    visitor.setting("quantize-rtn-evaluate").first.fill("256")


def test_a_model_is_quantized_asked_and_downloaded(come: Come, model: Path, tmp_path: Path) -> None:
    visitor = come()
    page = visitor.page
    visitor.open("quantization", session="Tiny")
    expect(page.locator(RESULT)).to_contain_text("The smaller model appears here")
    page.locator("#path-quantization textarea, #path-quantization input").first.fill(str(model))
    page.locator("#path-quantization button").click()
    files = page.locator("#ns-files-quantization")
    expect(files).to_contain_text("2 layers", timeout=SLOW)
    expect(files).to_contain_text("Llama")
    _quick(visitor)
    # A target's own settings are there only where they mean something.
    size = page.locator("#quantize-rtn-target_gb")
    expect(size).to_be_hidden()
    target = page.locator("#quantize-rtn-target")
    target.get_by_text("Size", exact=True).click()
    expect(size).to_be_visible()
    target.get_by_text("Bits", exact=True).click()
    expect(size).to_be_hidden()

    visitor.run("quantization")
    result = page.locator(RESULT)
    expect(result.locator("h2 bdi")).to_have_text("tiny-llama", timeout=SLOW)
    visitor.until_idle()
    expect(result.locator(".ns-state").first).to_have_text("done")
    for words in ("Before and after", "Perplexity", "Bits a weight", "Beside the original"):
        expect(result).to_contain_text(words)
    expect(result.locator(".ns-figure").first).to_have_attribute("alt", re.compile(r"\w+ \w+"))
    expect(result.locator(".ns-grid .this").first).to_contain_text("Round to nearest")
    visitor.assert_readable()

    with page.expect_download() as coming:
        result.locator(".ns-download").first.click()
    archive = tmp_path / "made.zip"
    coming.value.save_as(archive)
    assert re.fullmatch(r"tiny-llama-rtn\S*\.zip", coming.value.suggested_filename)
    with zipfile.ZipFile(archive) as packed:
        assert packed.testzip() is None
        names = packed.namelist()
        folder = names[0].partition("/")[0]
        config = json.loads(packed.read(f"{folder}/config.json"))
    assert "quantization_config" in config
    assert f"{folder}/tokenizer.json" in names
    assert any(name.endswith(".safetensors") for name in names)

    _ask(visitor)
    page.locator("[data-theme-toggle]").click()
    visitor.assert_readable()
    visitor.assert_fits(390)


def _ask(visitor: Visitor) -> None:
    """Ask both; what was typed and answered is still there when the page is drawn anew."""
    page = visitor.page
    ask = page.locator("ns-ask")
    ask.get_by_role("textbox", name="What to ask both models").fill("the noise of a")
    ask.get_by_text("Continue", exact=True).click()
    ask.get_by_role("spinbutton").fill("12")
    ask.get_by_role("button", name="Ask both").click()
    for side in ("original", "quantized"):
        expect(ask.locator(f".side.{side} .text")).to_have_text(re.compile(r"\S"), timeout=SLOW)
        expect(ask.locator(f".side.{side} .head span")).to_have_text(
            re.compile(r"^[\d.]+ tokens/s$"), timeout=SLOW
        )
    expect(ask.get_by_role("button", name="Ask both")).to_be_visible(timeout=SLOW)
    said = ask.locator(".side.quantized .text").inner_text()
    expect(page.locator(".ns-dock")).to_have_count(0)
    expect(visitor.library("Tiny")).to_have_count(1)  # questions are no part of it
    visitor.tab("quantization")
    expect(ask.get_by_role("textbox", name="What to ask both models")).to_have_value(
        "the noise of a"
    )
    assert ask.locator(".side.quantized .text").inner_text() == said

    ask.get_by_role("spinbutton").fill("1024")  # more than the model takes, so it is long enough
    ask.get_by_role("button", name="Ask both").click()
    ask.get_by_role("button", name="Stop").click()
    expect(ask.get_by_role("button", name="Ask both")).to_be_visible()


def test_a_zip_is_looked_at_and_what_is_no_model_says_so(
    come: Come, model: Path, tmp_path: Path
) -> None:
    packed = zipped(model, tmp_path / "sent.zip", inside="tiny-llama")
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("notes.txt", "no model")
    visitor = come()
    visitor.open("quantization", session="Zips")
    visitor.send("quantization", [packed, empty])
    files = visitor.page.locator("#ns-files-quantization")
    expect(files).to_contain_text("2 layers", timeout=SLOW)
    expect(files).to_contain_text("There is no model in empty.zip", timeout=SLOW)
    expect(files).to_contain_text("1 cannot be used")
