"""The library in a real Chromium: found, chosen, taken, thrown away and brought back, compared."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.visitor import CONTRAST, NEEDS_CHROMIUM, Come, Visitor

pytestmark = [*NEEDS_CHROMIUM, pytest.mark.timeout(600)]
# Texts of the shadow tree are judged as the page's are.
INSIDE = CONTRAST.replace(
    'document.querySelectorAll("body *")',
    'document.querySelector("ns-library").shadowRoot.querySelectorAll("*")',
).replace("at = at.parentElement", "at = at.parentElement || at.getRootNode().host")


@pytest.fixture
def notes(tmp_path: Path) -> list[Path]:
    """Texts for the engines for tests."""
    paths = [tmp_path / f"{name}.txt" for name in ("coast one", "coast two", "harbour")]
    for path in paths:
        path.write_text(f"text {path.stem}")
    return paths


def _made(visitor: Visitor, notes: list[Path], session: str) -> Locator:
    """Cards of a session in which each text was run, and the first of them twice."""
    page = visitor.page
    visitor.open("demo", session=session)
    visitor.send("demo", notes)
    visitor.run("demo")
    visitor.until_idle()
    cards = visitor.library(session)
    expect(cards).to_have_count(3)
    card = cards.filter(has_text="coast one")
    card.get_by_role("button", name="coast one").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    expect(page.locator("#ns-result-demo")).to_be_visible()
    visitor.until_idle()
    cards = visitor.library(session)
    expect(cards).to_have_count(4)
    return cards


def _readable(visitor: Visitor) -> None:
    found = visitor.page.evaluate(INSIDE)
    assert found["seen"] > 5, found
    assert not found["poor"], found["poor"]


def test_results_are_found_taken_and_thrown_away_with_a_way_back(
    come: Come, notes: list[Path], tmp_path: Path
) -> None:
    visitor = come()
    page = visitor.page
    cards = _made(visitor, notes, "<b>Found</b>")
    told = page.locator("ns-library .told")
    _readable(visitor)

    search = page.get_by_role("searchbox", name="Search file names")
    search.fill("COAST")
    expect(cards).to_have_count(3)
    measured = page.get_by_role("combobox", name="Measured values, such as K > 2")
    measured.fill("characters > 100")
    expect(page.locator("ns-library .grid")).to_contain_text("Nothing fits")
    measured.fill("characters")
    expect(told).to_contain_text("A measured value is asked for as K > 2")
    measured.fill("characters > 2")
    expect(cards).to_have_count(3)
    page.get_by_role("combobox", name="Engine", exact=True).select_option("demo.invert")
    page.get_by_role("combobox", name="Order").select_option("oldest")
    expect(cards.first).to_contain_text("coast one")
    page.reload()  # what was asked for is still asked for
    expect(cards).to_have_count(3)
    expect(search).to_have_value("COAST")

    # By keyboard alone: from card to card, two chosen, taken together.
    cards.first.get_by_role("button").focus()
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    expect(told).to_have_text("2 selected")
    with page.expect_download() as coming:
        page.get_by_role("button", name="Download zip").click()
    archive = tmp_path / "taken.zip"
    coming.value.save_as(archive)
    with zipfile.ZipFile(archive) as packed:
        assert packed.testzip() is None
        assert packed.namelist() == [
            "coast one.inverted.txt",
            "coast two.inverted.txt",
            "jobs.json",
        ]
        assert len(json.loads(packed.read("jobs.json"))) == 2

    before = cards.last.bounding_box()
    page.keyboard.press("Escape")
    assert cards.last.bounding_box() == before  # choosing moves nothing
    cards.first.get_by_role("button").focus()
    page.keyboard.press("x")
    page.keyboard.press("Delete")
    expect(cards).to_have_count(2)
    toast = page.locator("#ns-toast")
    expect(toast).to_contain_text("1 result moved to the trash")
    toast.get_by_role("button", name="Undo").click()
    expect(cards).to_have_count(3)

    cards.last.get_by_role("button").click()
    sheet = page.get_by_role("dialog")
    expect(sheet).to_contain_text("inverted text")
    sheet.get_by_role("button", name="Delete").click()
    expect(cards).to_have_count(2)
    page.get_by_role("button", name="Trash").click()
    expect(cards).to_have_count(1)
    cards.get_by_role("checkbox").check()
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("ns-library .grid")).to_contain_text("The trash is empty")
    page.get_by_role("button", name="Trash").click()
    page.get_by_role("button", name="Clear filters").click()

    page.get_by_role("button", name="Storage").click()
    expect(sheet).to_contain_text("Empty the trash")
    page.keyboard.press("Escape")
    page.locator("[data-theme-toggle]").click()
    _readable(visitor)
    visitor.assert_readable()
    visitor.assert_fits(390)


def test_two_results_of_one_file_stand_side_by_side(come: Come, notes: list[Path]) -> None:
    visitor = come()
    page = visitor.page
    cards = _made(visitor, notes, "Beside")
    page.get_by_role("searchbox", name="Search file names").fill("one")
    expect(cards).to_have_count(2)
    for n in range(2):
        cards.nth(n).get_by_role("checkbox").check()
    compare = page.get_by_role("button", name="Compare")
    compare.click()
    sheet = page.get_by_role("dialog")
    expect(sheet.get_by_role("table", name="What was measured of each")).to_contain_text(
        "characters"
    )
    expect(sheet.get_by_role("table", name="How each was made")).to_contain_text("Invert")
    sheet.get_by_role("button", name="Open").last.click()
    expect(page.locator("#ns-result-demo h2")).to_have_text("coast one.txt")
    expect(page.locator("[data-place]")).to_have_attribute("data-tab", "demo")
    cards = visitor.library("Beside")
    page.get_by_role("searchbox", name="Search file names").fill("")
    expect(cards).to_have_count(4)
    clear = page.get_by_role("button", name="Clear", exact=True)
    if clear.is_visible():  # a library that was drawn anew meanwhile has nothing selected
        clear.click()
    for name in ("coast two", "harbour"):
        cards.filter(has_text=name).get_by_role("checkbox").check()
    compare.click()
    expect(page.locator("#ns-toast")).to_contain_text("are different files")


def test_a_session_is_duplicated_exported_and_imported(
    come: Come, notes: list[Path], tmp_path: Path
) -> None:
    visitor = come()
    page = visitor.page
    visitor.open("demo", session="Travels")
    visitor.send("demo", notes[:1])
    visitor.run("demo")
    visitor.until_idle()
    visitor.tab("library")
    more = page.locator(".ns-menu summary")
    more.click()
    page.get_by_role("button", name="Duplicate").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("Second travels")
    page.keyboard.press("Enter")
    expect(page.locator(".ns-chips")).to_contain_text("Second travels")
    expect(visitor.library("Second travels")).to_have_count(1)

    more.click()
    with page.expect_download() as coming:
        page.get_by_role("link", name="Export as zip").click()
    archive = tmp_path / coming.value.suggested_filename
    assert archive.name == "Second travels.zip"
    coming.value.save_as(archive)
    more.click()
    page.get_by_role("button", name="Delete session").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete session").click()
    expect(page.locator(".ns-chips")).not_to_contain_text("Second travels")

    for file, told in ((notes[0], "no whole zip"), (archive, "1 job imported")):
        more.click()
        with page.expect_file_chooser() as asked:
            page.get_by_role("button", name="Import a zip").click()
        asked.value.set_files(file)
        expect(page.locator("#ns-toast")).to_contain_text(re.compile(told))
    expect(page.locator(".ns-chips")).to_contain_text("Second travels")
    cards = visitor.library("Second travels")
    cards.get_by_role("button").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    visitor.until_idle()
    expect(visitor.library("Second travels")).to_have_count(2)
