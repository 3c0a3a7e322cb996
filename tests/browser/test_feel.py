"""Keys, the tour, another language, and what an automated judge says of accessibility."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Route, expect

from tests.browser.visitor import NEEDS_CHROMIUM, Come

pytestmark = NEEDS_CHROMIUM
TABS = (
    "raw", "super-resolution", "speech", "separation", "quantization", "recipes", "library",
    "models",
)  # fmt: skip
GRAVE = ("serious", "critical")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(come: Come, scheme: str) -> None:
    visitor = come()
    visitor.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    visitor.open("raw")
    found = []
    for tab in TABS:
        visitor.tab(tab)
        expect(visitor.page.locator(f"[role=tab][data-tab-id={tab}]")).to_have_attribute(
            "aria-selected", "true"
        )
        for one in Axe().run(visitor.page).response["violations"]:
            if one["impact"] in GRAVE:
                found += [f"{tab}: {one['id']}: {node['html'][:150]}" for node in one["nodes"]]
    assert not found


def test_a_newcomer_is_shown_three_things_once(come: Come) -> None:
    visitor = come(toured=False)
    page = visitor.page
    visitor.open("raw")
    tour = page.locator(".ns-tour")
    for number in (1, 2, 3):
        expect(tour).to_contain_text(f"{number} / 3")
        expect(page.locator(".ns-pointed")).to_have_count(1)
        tour.locator(".primary").click()
    expect(tour).to_have_count(0)
    page.reload()
    expect(page.locator("#run-raw")).to_be_visible()
    expect(tour).to_have_count(0)
    page.keyboard.press("?")
    page.get_by_role("button", name="Show the tour").click()
    expect(tour).to_contain_text("1 / 3")
    page.keyboard.press("Escape")
    expect(tour).to_have_count(0)


def test_keys_open_tabs_and_can_be_turned_off(come: Come) -> None:
    visitor = come()
    page = visitor.page
    visitor.open("raw")
    page.keyboard.press("Alt+2")
    speech = page.locator("[role=tab][data-tab-id=speech]")
    expect(speech).to_have_attribute("aria-selected", "true")
    keys = page.get_by_role("dialog", name="Keys")
    page.keyboard.press("?")
    keys.get_by_role("checkbox").uncheck()
    keys.get_by_role("button", name="Close").click()
    page.keyboard.press("?")
    expect(keys).to_have_count(0)
    page.get_by_role("button", name="Keys and tour").click()
    keys.get_by_role("checkbox").check()
    page.keyboard.press("Escape")
    path = page.locator("#path-speech").locator("textarea, input").first
    path.fill("")
    path.press("?")  # typed, not done
    expect(path).to_have_value("?")
    expect(keys).to_have_count(0)


def test_a_tab_chosen_before_the_studio_answers_stays(come: Come) -> None:
    visitor = come()
    page = visitor.page
    held: list[Route] = []
    late = True

    def answer(route: Route) -> None:
        if late:
            held.append(route)
        else:
            route.continue_()

    page.route("**/run/predict*", answer)
    page.goto(f"{visitor.served.address}?tab=separation")
    expect(page.locator("#run-separation")).to_be_visible()  # the address is followed at once
    visitor.tab("speech")
    expect(page.locator("#run-speech")).to_be_visible()
    late = False
    assert held
    for route in held:
        route.continue_()
    expect(page.locator("[data-place]")).to_have_attribute("data-tab", "speech")
    expect(page.locator("#run-speech")).to_be_visible()
    page.wait_for_function("location.search.includes('tab=speech')")


def test_the_page_speaks_chinese_where_the_browser_does(come: Come) -> None:
    visitor = come(language="zh-CN")
    page = visitor.page
    visitor.open("raw")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator("#run-raw")).to_have_text("运行")
    expect(page.locator("[role=tab][data-tab-id=speech]")).to_have_text("语音")
    # What is drawn anew by the studio is told again, within other words and in shadow trees too.
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="快捷键")).to_contain_text("下一个")
    page.keyboard.press("Escape")
    # Forms of few words fit what they are for, and no other sentence.
    page.evaluate("""(texts) => texts.forEach((text, at) => document.body.append(
      Object.assign(document.createElement("p"), { id: `said-${at}`, textContent: text })))""",
      ["3 running", "The recipe of this project (0.6 M)"])  # fmt: skip
    expect(page.locator("#said-0")).to_have_text("3 个运行中")
    expect(page.locator("#said-1")).to_have_text("The recipe of this project (0.6 M)")
    page.locator("[data-language]").select_option("en")
    expect(page.locator("#run-raw")).to_have_text(re.compile("Run"))
    expect(page.locator("html")).to_have_attribute("lang", "en")
