"""The studio as a person meets it: a real Chromium, a real server, a real worker.

One server serves all tests; each opens a session of its own in it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy
import pytest
import rawpy
import torch
from playwright.sync_api import expect

from engines.raw.yond.arch import GuidedResUnet
from engines.weights import sha256_of
from tests.browser.served import Served
from tests.browser.visitor import NEEDS_CHROMIUM, Come, Visitor

pytestmark = NEEDS_CHROMIUM
RAW = Path(__file__).parents[1] / "data" / "raw"
CHART, SMALL = RAW / "colorchart.dng", RAW / "P003908.KDC"

# The picture of one side as it is drawn: its own size, its size and place in the window.
DRAWN = """(compare, side) => {
  const image = compare.shadowRoot.querySelector(`.${side} .top`);
  const box = image.getBoundingClientRect();
  return { own: [image.naturalWidth, image.naturalHeight], width: box.width, left: box.left,
    top: box.top, clip: compare.shadowRoot.querySelector(`.${side}`).style.clipPath };
}"""


@pytest.fixture
def notes(tmp_path: Path) -> list[Path]:
    """Three texts for the engines for tests."""
    paths = [tmp_path / f"{name}.txt" for name in ("one", "two", "three")]
    for path in paths:
        path.write_text(f"text {path.stem}")
    return paths


def test_a_real_raw_file_goes_in_and_a_clean_one_comes_out(come: Come, tmp_path: Path) -> None:
    visitor = come()
    page = visitor.page
    visitor.open("raw", session="Chart")
    expect(page.locator("#ns-result-raw")).to_contain_text("Add a RAW file and press Run")
    visitor.send("raw", [CHART])
    expect(page.locator("#ns-files-raw")).to_contain_text("Canon EOS Kiss X4")
    visitor.run("raw")

    bar, cancel = page.get_by_role("progressbar"), page.locator(".ns-dock [data-do=cancel]")
    page.wait_for_function("+document.querySelector('[role=progressbar]')?.ariaValueNow > 0")
    seen, place = int(bar.get_attribute("aria-valuenow") or 0), cancel.bounding_box()
    page.wait_for_function(
        f"+document.querySelector('[role=progressbar]')?.ariaValueNow > {seen}"
        " || document.querySelector('#ns-result-raw ns-compare')"
    )
    assert cancel.count() == 0 or cancel.bounding_box() == place
    assert "colorchart.dng" in page.locator("#ns-live").inner_text()

    compare = page.locator("#ns-result-raw ns-compare")
    expect(compare).to_be_visible()
    page.wait_for_function(
        "[...document.querySelector('#ns-result-raw ns-compare')"
        ".shadowRoot.querySelectorAll('img')].every((one) => one.naturalWidth)"
    )
    visitor.until_idle()
    expect(page.locator("#ns-result-raw .ns-state").first).to_have_text("done")
    for words in ("Gain K", "Read noise sigma", "Confidence", "Denoised mosaic DNG"):
        expect(page.locator("#ns-result-raw")).to_contain_text(words)
    expect(page.locator(".ns-figure")).to_have_attribute("alt", re.compile(r"\w+ \w+ \w+"))
    visitor.assert_readable()

    with page.expect_download() as coming:
        page.locator(".ns-download").first.click()
    clean = tmp_path / coming.value.suggested_filename
    coming.value.save_as(clean)
    assert clean.name == "colorchart.dng"
    noisy_mosaic, clean_mosaic = _mosaic(CHART), _mosaic(clean)
    assert clean_mosaic.shape == noisy_mosaic.shape
    assert clean_mosaic.mean() == pytest.approx(noisy_mosaic.mean(), rel=0.005)
    assert not numpy.array_equal(clean_mosaic, noisy_mosaic)

    job = visitor.job()
    page.reload()
    expect(compare).to_be_visible()
    assert visitor.job() == job
    expect(page.locator(".ns-chips")).to_contain_text("Chart")
    expect(page.locator("#ns-files-raw")).to_contain_text("colorchart.dng")

    page.locator("[data-theme-toggle]").click()
    expect(page.locator("body")).to_have_class("dark")
    visitor.assert_readable()
    page.reload()
    expect(compare).to_be_visible()
    expect(page.locator("body")).to_have_class("dark")
    visitor.assert_fits(390)
    visitor.assert_readable()


def _mosaic(path: Path) -> numpy.ndarray:
    """A file's mosaic as another program reads it, black as 0 and white as 1."""
    with rawpy.imread(str(path)) as raw:
        black = raw.black_level_per_channel[0]
        return (raw.raw_image_visible - float(black)) / (raw.white_level - black)


def test_before_and_after_are_compared_by_keyboard_at_the_same_place(come: Come) -> None:
    visitor = come()
    page = visitor.page
    visitor.open("raw", session="Compare")
    visitor.send("raw", [SMALL])
    visitor.run("raw")
    compare = page.locator("#ns-result-raw ns-compare")
    expect(compare).to_be_visible()
    visitor.until_idle()
    divider = page.get_by_role("slider", name="Divider between before and after")
    zoom = {name: page.get_by_role("button", name=name) for name in ("Fit", "100 %", "200 %")}

    expect(zoom["100 %"]).to_have_attribute("aria-pressed", "true")
    before, after = compare.evaluate(DRAWN, "before"), compare.evaluate(DRAWN, "after")
    assert before["own"] == after["own"]
    assert after["width"] == pytest.approx(after["own"][0])  # a picture pixel on a screen pixel
    for side in ("width", "left", "top"):
        assert before[side] == after[side]

    divider.focus()
    page.keyboard.press("ArrowRight")
    expect(divider).to_have_attribute("aria-valuetext", "52 % before, 48 % after")
    assert compare.evaluate(DRAWN, "before")["clip"] != before["clip"]
    page.keyboard.press("End")
    expect(divider).to_have_attribute("aria-valuenow", "100")
    page.keyboard.press("Home")
    expect(divider).to_have_attribute("aria-valuenow", "0")

    page.keyboard.press("3")
    expect(zoom["200 %"]).to_have_attribute("aria-pressed", "true")
    doubled = compare.evaluate(DRAWN, "after")
    assert doubled["width"] == pytest.approx(2 * after["own"][0])
    page.get_by_role("group", name="arrow keys move it").focus()
    page.keyboard.press("Shift+ArrowRight")
    assert compare.evaluate(DRAWN, "after")["left"] < doubled["left"]
    page.keyboard.press("1")
    expect(zoom["Fit"]).to_have_attribute("aria-pressed", "true")
    assert compare.evaluate(DRAWN, "after")["width"] < after["own"][0]

    page.keyboard.down("\\")
    assert compare.evaluate(DRAWN, "before")["clip"] == "inset(0px 0% 0px 0px)"
    page.keyboard.up("\\")
    assert compare.evaluate(DRAWN, "before")["clip"] == "inset(0px 100% 0px 0px)"
    page.get_by_role("button", name="Side by side").click()
    expect(divider).to_be_hidden()

    page.get_by_role("button", name="Advanced").click()
    visitor.setting("raw-yond-tile").press_sequentially("2")
    expect(zoom["Fit"]).to_have_attribute("aria-pressed", "true")  # no key while typing


def test_a_run_is_cancelled_and_leaves_nothing(come: Come, served: Served) -> None:
    visitor = come()
    page = visitor.page
    visitor.open("raw", session="Cancelled")
    visitor.send("raw", [CHART])
    visitor.run("raw")
    page.wait_for_function("+document.querySelector('[role=progressbar]')?.ariaValueNow > 0")
    page.get_by_role("button", name="Cancel colorchart.dng").click()
    visitor.until_idle()
    expect(page.locator("#ns-result-raw")).to_contain_text("Nothing was written")
    expect(page.locator("#ns-result-raw .ns-state")).to_have_text("cancelled")
    assert not list((served.home / "outputs").rglob(f"{visitor.job()}*/*"))


def test_one_bad_file_has_its_sentence_and_the_rest_is_done(come: Come, tmp_path: Path) -> None:
    bad = tmp_path / "holiday.NEF"
    bad.write_text("this is no camera file")
    first, last = tmp_path / "first.kdc", tmp_path / "a name in \N{ARABIC LETTER MEEM} b.kdc"
    for copy in (first, last):
        shutil.copyfile(SMALL, copy)
    visitor = come()
    page = visitor.page
    visitor.open("raw", session="Batch")
    visitor.send("raw", [first, bad, last])
    expect(page.locator("#ns-files-raw")).to_contain_text("1 cannot be used")
    expect(page.locator("#ns-files-raw .problem").last).to_contain_text("holiday.NEF")
    visitor.run("raw")
    expect(page.locator("#ns-result-raw .ns-batch")).to_contain_text("2 of 3 done, 1 failed")
    visitor.until_idle()
    expect(page.locator(".ns-strip button")).to_have_count(3)
    expect(page.locator("#ns-result-raw ns-compare")).to_be_visible()
    page.locator(".ns-strip button", has_text="holiday.NEF").click()
    alert = page.locator("#ns-result-raw [role=alert]")
    expect(alert).to_contain_text("holiday.NEF could not be processed.")
    expect(alert).to_contain_text("is not a camera RAW file")
    visitor.assert_readable()
    page.locator(".ns-strip button").last.click()
    expect(page.locator("#ns-result-raw h2")).to_have_text(last.name)
    with page.expect_download() as coming:
        page.get_by_text("Download all 4 as zip").click()
    assert coming.value.suggested_filename.endswith(".zip")


def test_an_engine_has_its_own_tab_made_of_its_parameters(
    come: Come, notes: list[Path], tmp_path: Path
) -> None:
    visitor = come()
    page = visitor.page
    visitor.open("demo", session="Engine")
    expect(page.locator("#method-demo").get_by_text("Method", exact=True)).to_be_visible()
    for label in ("Seconds (s)", "Repeat", "Upper case", "End"):
        expect(page.get_by_text(label, exact=True)).to_be_visible()
    expect(page.get_by_text("Letters to leave out")).to_be_hidden()
    page.locator("#run-demo").click()
    expect(page.get_by_role("alert").first).to_contain_text("Add a file first")
    visitor.send("demo", notes[:1])

    page.get_by_role("button", name="Advanced").click()
    visitor.setting("demo-invert-limit").fill("many")
    page.keyboard.press("Control+Enter")
    told = page.locator(".ns-told")
    expect(told).to_have_text("Limit must be a whole number, not many")
    told.get_by_role("button").click()
    expect(told).to_have_count(0)
    visitor.setting("demo-invert-limit").fill("7")
    visitor.setting("demo-invert-without").fill("t")
    page.get_by_label("Mark").check()
    page.get_by_label("Upper case").check()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#ns-result-demo h2")).to_have_text("one.txt")
    with page.expect_download() as coming:
        page.locator(".ns-download").click()
    coming.value.save_as(tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == "ENO XE!"

    page.reload()
    expect(page.get_by_label("Upper case")).to_be_checked()
    page.get_by_text("Crash", exact=True).click()
    expect(page.get_by_text("How long to live")).to_be_visible()
    expect(page.get_by_text("How often to write it")).to_be_hidden()
    visitor.assert_readable()


def test_weights_are_added_by_dropping_them_and_can_be_chosen(come: Come, tmp_path: Path) -> None:
    network = GuidedResUnet(4, 2, False)
    network.initialise(torch.Generator().manual_seed(7))
    torch.save(network.state_dict(), tmp_path / "my own.pth")
    junk = tmp_path / "junk.pth"
    junk.write_text("no weights")
    visitor = come()
    page = visitor.page
    visitor.open("models")
    told = page.locator(".ns-told")
    adding, file = page.locator("ns-weights .now"), page.locator("ns-weights input[type=file]")
    file.set_input_files(junk)
    expect(adding).to_have_text(re.compile("^junk.pth is not a checkpoint that can be read safely"))
    page.locator("ns-weights .hash").fill("0" * 64)
    file.set_input_files(tmp_path / "my own.pth")
    expect(adding).to_have_text(re.compile("^my own.pth is not what was expected: its sha256 is "))
    page.locator("ns-weights .hash").fill(sha256_of(tmp_path / "my own.pth"))
    file.set_input_files(tmp_path / "my own.pth")
    expect(told).to_contain_text("(my own) can now be chosen as weights")
    expect(page.locator(".ns-entry")).to_contain_text(["bundled", "my-own"])
    visitor.assert_readable()
    visitor.assert_fits(390)
    page.set_viewport_size({"width": 1440, "height": 900})
    visitor.tab("raw")
    page.get_by_role("button", name="Advanced").click()
    page.get_by_role("combobox", name="Weights").click()
    expect(page.get_by_role("option", name="(my own) (yours)")).to_be_visible()
    page.keyboard.press("Escape")
    visitor.tab("models")
    own = page.locator(".ns-entry", has_text="my-own")
    own.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(told).to_have_text("my-own was removed")


def test_a_restart_in_the_middle_loses_nothing(
    come: Come, served: Served, notes: list[Path]
) -> None:
    visitor = come()
    page = visitor.page
    visitor.open("demo", session="Restart")
    visitor.send("demo", notes[:2])
    visitor.setting("demo-invert-seconds").fill("2")
    visitor.run("demo")
    expect(page.locator("#ns-result-demo .ns-batch")).to_contain_text("1 of 2 done")
    job = visitor.job()
    visitor.studio_may_be_gone = True
    served.kill()
    expect(page.locator("#ns-gone")).to_be_visible()
    served.start()
    expect(page.locator("#ns-gone")).to_be_hidden()
    visitor.until_idle()
    expect(page.locator("#ns-result-demo .ns-batch")).to_contain_text("2 of 2 done")
    assert visitor.job() == job
    expect(visitor.setting("demo-invert-seconds")).to_have_value("2")
    expect(page.locator(".ns-chips")).to_contain_text("Restart")


def test_two_visitors_cannot_see_one_another(
    come: Come, notes: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = Served(tmp_path_factory.mktemp("shared") / "home", shared=True)
    shared.start()
    one, two = come(shared), come(shared)
    try:
        _two_visitors(one, two, notes)
    finally:
        one.studio_may_be_gone = two.studio_may_be_gone = True  # pages go on asking
        shared.stop()


def _two_visitors(one: Visitor, two: Visitor, notes: list[Path]) -> None:
    for visitor in (one, two):
        visitor.open("demo")
        expect(visitor.page.locator("#path-demo")).to_be_hidden()
    one.send("demo", notes[:1])
    one.run("demo")
    link = one.page.locator(".ns-download")
    expect(link).to_be_visible()
    job = one.job()
    file = one.served.address + str(link.get_attribute("href"))
    archive = f"{one.served.address}studio/zip/job/{job}"
    for address in (file, archive):
        assert one.context.request.get(address).ok
        assert two.context.request.get(address).status == 404

    two.page.goto(f"{two.served.address}?tab=demo&job={job}")
    expect(two.page.locator("#ns-result-demo")).to_contain_text("The result appears here")
    assert "one.txt" not in two.page.content()
    two.tab("library")
    expect(two.page.locator("ns-library")).to_contain_text("Nothing here yet")
    two.page.evaluate(
        """(kept) => {
          const button = document.querySelector(".ns-session [data-do=new-session]");
          for (const name of Object.keys(button.dataset)) delete button.dataset[name];
          Object.assign(button.dataset, kept);
          button.click();
        }""",
        {"do": "delete", "key": job},
    )
    expect(two.page.locator(".ns-told")).to_contain_text("does not exist")
    two.tab("models")
    expect(two.page.locator("ns-weights")).to_have_count(0)
    one.page.reload()
    expect(link).to_be_visible()
