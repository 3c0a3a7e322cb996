"""Presets and recipes in a real Chromium: kept from a tab, put together, run on files."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.visitor import NEEDS_CHROMIUM, Come

pytestmark = NEEDS_CHROMIUM


def _name(page: Page, name: str) -> None:
    page.get_by_role("dialog").get_by_role("textbox").fill(name)
    page.keyboard.press("Enter")


def test_settings_are_kept_and_chained_and_run(come: Come, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("abc")
    visitor = come()
    page = visitor.page
    visitor.open("demo", session="Recipes")
    settings = page.locator("#ns-presets-demo")
    page.get_by_label("Upper case").check()
    settings.get_by_role("button", name="Save as preset").click()
    _name(page, "Loud")
    chosen = settings.get_by_role("combobox")
    expect(chosen.locator("option:checked")).to_have_text("Loud")
    chosen.select_option("")
    expect(page.get_by_label("Upper case")).not_to_be_checked()
    chosen.select_option("Loud")
    expect(page.get_by_label("Upper case")).to_be_checked()
    settings.get_by_role("button", name="Add to a recipe").click()
    _name(page, "Browsed")
    expect(page.locator(".ns-told")).to_contain_text("Invert is now step 1 of the recipe Browsed")

    visitor.tab("recipes")
    card = page.locator(".ns-recipe", has_text="Browsed")
    card.get_by_role("combobox").select_option("engine:demo.invert")
    expect(card.locator(".ns-steps li")).to_have_count(2)
    visitor.send("recipes", [text])
    card.get_by_role("button", name="Run Browsed").click()
    run = page.locator(".ns-runs")
    expect(run).to_contain_text("1 of 1 file done")
    visitor.assert_readable()
    page.locator("[data-theme-toggle]").click()
    visitor.assert_readable()
    visitor.assert_fits(390)
    run.get_by_role("button", name="Open the result of a.txt").click()
    expect(page.locator("#ns-result-demo h2 bdi")).to_have_text("a.txt")


def test_a_preset_comes_from_a_file_and_a_new_session_begins_with_it(
    come: Come, tmp_path: Path
) -> None:
    visitor = come()
    page = visitor.page
    file = tmp_path / "loud.json"
    file.write_text('{"engine": "demo.invert", "params": {"upper": true}}')
    visitor.open("demo", session="Files of presets")
    settings, upper = page.locator("#ns-presets-demo"), page.get_by_label("Upper case")
    expect(upper).not_to_be_checked()
    with page.expect_file_chooser() as asked:
        settings.get_by_role("button", name="Load a preset").click()
    asked.value.set_files(file)
    expect(upper).to_be_checked()
    chosen = settings.get_by_role("combobox").locator("option:checked")
    expect(chosen).to_have_text("loud")
    with page.expect_download() as coming:
        settings.get_by_role("link", name="Save as file").click()
    assert coming.value.suggested_filename == "loud.preset.json"
    settings.get_by_role("button", name="Always start with it").click()
    expect(chosen).to_have_text("loud (at the start)")
    settings.get_by_role("combobox").select_option("")
    expect(upper).not_to_be_checked()
    visitor.open("demo", session="Begun anew")
    expect(upper).to_be_checked()
    settings.get_by_role("button", name="No longer start with it").click()
    expect(settings.get_by_role("button", name="Always start with it")).to_be_visible()
    visitor.assert_readable()
