"""A person's browser window, with an eye on everything that a person should never see."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, Response, expect

from tests.browser.served import Served

PATIENCE = 60_000  # milliseconds, for a machine that has other things to do
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome")
     if (found := shutil.which(name))), None,
)  # fmt: skip
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="no Chromium was found; install one (Debian: apt-get install chromium)",
    ),
]
REFUSED = 422  # what was asked is wrong, which the page says in a sentence
# Said by Gradio's own upload code each time; it means nothing.
_GRADIO = {"Method not implemented."}

# All text that is to be seen, with the contrast to what is behind it (WCAG 2.2, 1.4.3). Pictures
# behind text are judged by the eye.
CONTRAST = """() => {
  const channels = (colour) => {
    const found = colour.match(/[\\d.]+/g).map(Number);
    return colour.startsWith("color(") ? [...found.slice(0, 3).map((v) => v * 255), found[3] ?? 1]
      : [...found.slice(0, 3), found[3] ?? 1];
  };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      layers.push(channels(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92
      : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  let seen = 0;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].filter((n) => n.nodeType === 3 && n.data.trim());
    const box = element.getBoundingClientRect();
    if (!own.length || !element.checkVisibility({ checkVisibilityCSS: true }) || box.width < 2
      || element.disabled || element.closest("script, style, .visually-hidden, .sr-only")) continue;
    seen += 1;
    const below = behind(element);
    const [a, b] = [light(over(channels(getComputedStyle(element).color), below)), light(below)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${own[0].data.trim().slice(0, 40)}`);
  }
  return { seen, poor };
}"""

# What a screen reader could not name.
NAMELESS = """() => [...document.querySelectorAll("button, a[href], img, [role=slider]")]
  .filter((one) => one.checkVisibility() && !one.closest("[aria-hidden=true]"))
  .filter((one) => one.tagName === "IMG" ? !one.hasAttribute("alt")
    : !(one.innerText.trim() || one.getAttribute("aria-label")
        || one.querySelector("img[alt]:not([alt=''])")))
  .map((one) => one.outerHTML.slice(0, 120))"""


class Visitor:
    """One window at a studio; `complaints` collects what went wrong in it."""

    def __init__(
        self,
        browser: Browser,
        served: Served,
        *,
        toured: bool = True,
        language: str = "en-US",
        touch: bool = False,
    ) -> None:
        """`touch` is a window of fingers; make it a phone's once the tab is open."""
        self.served = served
        self.context = browser.new_context(
            viewport={"width": 1440, "height": 900}, color_scheme="light",
            reduced_motion="reduce", locale=language, has_touch=touch, is_mobile=touch,
        )  # fmt: skip
        if toured:  # what a newcomer is shown stands before nobody else
            self.context.add_init_script("localStorage.setItem('noise-studio-toured', '1')")
        self.context.set_default_timeout(PATIENCE)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.studio_may_be_gone = False
        self.page.on("console", lambda said: self._console(said.type, said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", self._request)
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._response)

    def _console(self, kind: str, text: str) -> None:
        lost = self.studio_may_be_gone and "net::ERR_" in text
        refused = f"status of {REFUSED} " in text
        if kind in ("error", "warning") and text not in _GRADIO and not lost and not refused:
            self.complaints.append(f"console {kind}: {text}")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("blob", "data") and parts.port != self.served.port:
            self.complaints.append(f"foreign: {request.url}")

    def _failed(self, request: Request) -> None:
        # A page that is left aborts what it still waits for.
        if not self.studio_may_be_gone and request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.url} {request.failure}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and response.status != REFUSED:
            self.complaints.append(f"status {response.status}: {response.url}")

    def open(self, tab: str = "raw", session: str = "") -> None:
        """Open the page at a tab, in a new session where one is named."""
        self.page.goto(f"{self.served.address}?tab={'library' if session else tab}")
        self.page.wait_for_selector("[data-place]", state="attached")  # the studio has answered
        if session:
            self.page.locator("[data-do=new-session]").click()
            self.page.get_by_role("dialog").get_by_role("textbox").fill(session)
            self.page.keyboard.press("Enter")
            expect(self.page.locator(".ns-chips")).to_contain_text(session)
            self.tab(tab)
        expect(self.page.locator(f"#run-{tab}, .ns-{tab}").first).to_be_visible()

    def tab(self, name: str) -> None:
        """Go to a tab."""
        self.page.locator(f"[role=tab][data-tab-id={name}]").click()

    def library(self, session: str) -> Locator:
        """Go to the library, narrowed to a session; its cards."""
        field = self.page.get_by_role("combobox", name="In which session")
        for _ in range(3):  # what was opened just before may still come to the front once more
            self.tab("library")
            self.page.wait_for_timeout(1000)
            if field.is_visible():
                break
        option = field.locator("option", has_text=session)
        expect(option).to_have_count(1)
        field.select_option(value=option.get_attribute("value"))
        return self.page.locator("ns-library .card")

    def send(self, tab: str, files: Sequence[Path]) -> None:
        """Drop files on a tab's zone and wait until they are listed."""
        listed = self.page.locator(f"#ns-files-{tab} .ns-files li")
        before = listed.count()
        self.page.set_input_files(f"#drop-{tab} input[type=file]", list(files))
        expect(listed).to_have_count(before + len(files))

    def run(self, tab: str) -> None:
        """Press Run and wait until it is taken."""
        taken = self.page.locator(".ns-dock")
        result = self.page.locator(f"#ns-result-{tab} h2 bdi")
        if not result.is_visible():  # a short job may be done before the queue is looked at
            taken = taken.or_(result)
        self.page.locator(f"#run-{tab}").click()
        expect(taken.first).to_be_visible(timeout=PATIENCE)

    def until_idle(self) -> None:
        """Wait until nothing runs or waits."""
        expect(self.page.locator(".ns-chips")).to_contain_text("Idle", timeout=PATIENCE)
        expect(self.page.locator(".ns-dock")).to_have_count(0)

    def setting(self, name: str) -> Locator:
        """The field to type a setting into, such as "demo-invert-seconds"."""
        return self.page.locator(f"#{name}").locator(
            "input[type=number], input[type=text], textarea"
        )

    def at(self) -> str:
        """Query of the address."""
        return str(self.page.evaluate("location.search"))

    def job(self) -> str:
        """Id of the open result."""
        self.page.wait_for_function("location.search.includes('job=')")
        found = re.search("job=([0-9a-f]+)", self.at())
        assert found is not None
        return found[1]

    def assert_fits(self, width: int) -> None:
        """Nothing is wider than the window, which is made so wide."""
        self.page.set_viewport_size({"width": width, "height": 844})
        self.page.wait_for_function(f"innerWidth === {width}")
        wide = self.page.evaluate("document.documentElement.scrollWidth")
        assert wide == width, wide

    def assert_readable(self) -> None:
        """All text has enough contrast, and all that can be pressed has a name."""
        found = self.page.evaluate(CONTRAST)
        assert found["seen"] > 5, found
        assert not found["poor"], found["poor"]
        nameless = self.page.evaluate(NAMELESS)
        assert not nameless, nameless

    def close(self) -> None:
        """Leave; nothing may have gone wrong on the way."""
        self.context.close()
        assert not self.complaints, self.complaints


Come = Callable[..., Visitor]
