"""The page's events, as the browser sends them: what they change, and what they send back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.requests import Request

from studio.app import build_app, free_port, launch_options
from studio.jobs.service import Studio
from studio.page import Page
from studio.scene import Panel, View
from studio.tabs.generic import MethodTab
from studio.visitors import COOKIE, Visitors
from tests.engines_for_tests import CrashEngine, InvertEngine
from tests.studio.scenes import ENGINE, TAB, finished, scene_of, submitted, texts

pytestmark = pytest.mark.usefixtures("tiny_engine")
SKIP = gr.skip()


def _page(studio: Studio) -> Page:
    with gr.Blocks() as blocks:
        return Page(
            blocks,
            studio,
            Visitors(studio.settings),
            [MethodTab("Demo", [InvertEngine, CrashEngine]), MethodTab("Other", [InvertEngine])],
        )


@pytest.fixture
def page(studio: Studio) -> Page:
    return _page(studio)


def _asked(query: str = "", token: str = "") -> gr.Request:
    """A request as Gradio hands it on."""
    headers = [(b"cookie", f"{COOKIE}={token}".encode())] if token else []
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers,
             "query_string": query.encode()}  # fmt: skip
    return gr.Request(request=Request(scope))


class Browser:
    """One opened page: keeps what the server asks it to keep."""

    def __init__(self, page: Page, token: str = "", kept: dict[str, Any] | None = None) -> None:
        self.page = page
        self.view = View()
        self.memory: dict[str, Any] = {}
        self.drafts = kept or {}
        self.token = token

    def request(self, query: str = "") -> gr.Request:
        return _asked(query, self.token)

    def open(self, query: str = "") -> dict[Any, Any]:
        sent = self.page._open(self.memory, self.view, self.drafts, self.request(query))
        return self._take(sent)

    def look(self) -> dict[Any, Any]:
        return self._take(self.page._look(self.memory, self.view, self.request()))

    def select(self, tab: str, **memory: str) -> dict[Any, Any]:
        kept = self.memory | memory
        return self._take(self.page._select(tab, self.request(), kept, self.view))

    def click(self, **data: str) -> dict[Any, Any]:
        event = gr.EventData(None, data)
        return self._take(
            self.page._act(self.memory, self.view, self.drafts, event, self.request())
        )

    def run(self, **changed: Any) -> dict[Any, Any]:
        tab = self.page.tabs[0]
        values = [
            changed.get(field.name, field.shown(field.default))
            for one in tab.forms
            for field in one.form.fields
        ]
        sent = self.page._run(tab, self.request(), self.memory, self.view, ENGINE, *values)
        return self._take(sent)

    def add(self, typed: str) -> Any:
        *_, left = self.page._add_path(
            self.page.tabs[0], self.request(), self.memory, self.view, typed
        )
        return left

    def _take(self, sent: list[Any]) -> dict[Any, Any]:
        """What was sent that is no skip, by component."""
        got = {
            component: value
            for component, value in zip(self.page._outputs, sent, strict=False)
            if not _skipped(value)
        }
        self.memory = got.get(self.page.memory, self.memory)
        self.drafts = got.get(self.page.drafts, self.drafts)
        return got


def _skipped(value: Any) -> bool:
    return isinstance(value, Mapping) and dict(value) == SKIP


def _panel(page: Page, name: str) -> Panel:
    return next(panel for panel in page.panels if panel.name == name)


def _said(browser: Browser) -> str:
    return browser.view.notice.text if browser.view.notice else ""


def test_the_page_opens_where_the_address_says(page: Page, studio: Studio, tmp_path: Path) -> None:
    first, second = finished(scene_of(studio), texts(tmp_path, "a.txt", "b.txt"))
    browser = Browser(page)
    sent = browser.open(f"tab=demo&job={first.id}")
    assert browser.view.tab == "demo"
    assert browser.view.open["demo"] == first.id
    assert "a.txt" in sent[_panel(page, "result-demo").component]
    assert f'data-job="{first.id}"' in sent[_panel(page, "header").component]
    for query, tab in (("tab=nowhere", "demo"), ("tab=history", "library")):
        elsewhere = Browser(page)
        elsewhere.open(query)
        assert elsewhere.view.tab == tab
    newest = Browser(page)
    newest.open("job=nothing")
    assert newest.view.open["demo"] == second.id


def test_a_job_of_another_tab_or_session_is_not_opened_here(
    page: Page, studio: Studio, tmp_path: Path
) -> None:
    [job] = finished(scene_of(studio), texts(tmp_path, "a.txt"))
    browser = Browser(page)
    browser.open(f"tab=other&job={job.id}")
    assert "other" not in browser.view.open
    elsewhere = Browser(page)
    elsewhere.memory = {"session": studio.new_session("local", "Another").id}
    elsewhere.open(f"tab=demo&job={job.id}")
    assert elsewhere.view.open == {}


def test_the_tab_that_gradio_selects_by_itself_is_not_taken_for_a_choice(page: Page) -> None:
    browser = Browser(page)
    assert browser.select("demo") == {}
    browser.open("tab=library")
    assert browser.select("demo", opened="") == {}
    assert browser.view.tab == "library"
    assert _panel(page, "header").component in browser.select("demo")
    assert browser.view.tab == "demo"


def test_nothing_is_sent_twice(page: Page, studio: Studio, tmp_path: Path) -> None:
    browser = Browser(page)
    browser.open()
    assert browser.look().keys() == {page.view}
    finished(scene_of(studio), texts(tmp_path, "a.txt"))
    assert _panel(page, "library").component in browser.select("library")
    assert browser.look().keys() == {page.view}


def test_an_idle_page_looks_seldom_and_a_busy_one_often(
    page: Page, studio: Studio, tmp_path: Path
) -> None:
    browser = Browser(page)
    browser.open()
    assert browser.view.pace == 5.0
    ids = submitted(scene_of(studio), texts(tmp_path, "a.txt"), seconds=30)
    assert browser.look()[page.timer].value == 1.0
    studio.cancel_all("local")
    studio.wait("local", ids, poll=0.01)
    assert browser.look()[page.timer].value == 5.0


def test_a_run_queues_what_is_chosen_with_what_is_set(
    page: Page, studio: Studio, tmp_path: Path
) -> None:
    browser = Browser(page)
    browser.open()
    browser.run()
    assert _said(browser) == "Add a file first"
    texts(tmp_path, "a.txt", "b.txt")
    assert browser.add(str(tmp_path)) == ""
    browser.run(limit="0")
    assert _said(browser) == "Limit must be at least 1, not 0"
    assert studio.jobs("local") == []
    browser.run(repeat=3, without="x\ny", limit="40")
    assert _said(browser) == ""
    jobs = studio.wait("local", [job.id for job in studio.jobs("local")], poll=0.01)
    assert [job.state for job in jobs] == ["done", "done"]
    assert {job.params["repeat"] for job in jobs} == {3}
    assert jobs[0].params["without"] == ["x", "y"]
    assert len({job.batch for job in jobs}) == 1
    assert browser.view.coming == {TAB: jobs[0].batch}


def test_a_path_that_is_not_there_stays_to_be_mended(page: Page, tmp_path: Path) -> None:
    browser = Browser(page)
    browser.open()
    typed = str(tmp_path / "nothing")
    assert browser.add(typed) == typed
    assert _said(browser) == f"There is nothing at this path; check it: {typed}"
    browser.click(do="dismiss")
    assert _said(browser) == ""


def test_a_draft_is_there_again_and_settings_of_a_result_fill_the_form(
    page: Page, studio: Studio, tmp_path: Path
) -> None:
    [job] = finished(scene_of(studio), texts(tmp_path, "a.txt"), repeat=4, upper=True)
    [invert, _] = page.tabs[0].forms
    repeat, upper, seconds = (
        invert.form.controls[invert.form.names.index(name)]
        for name in ("repeat", "upper", "seconds")
    )
    browser = Browser(page, kept={ENGINE: {"repeat": 7, "seconds": "garbled"}})
    sent = browser.open()
    assert (sent[repeat], sent[upper], sent[seconds]) == (7, False, 0.0)
    sent = browser.click(do="use", key=job.id)
    assert (sent[repeat], sent[upper]) == (4, True)
    assert browser.drafts[ENGINE]["repeat"] == 4
    assert sent[page.tabset].selected == TAB
    assert browser.select(TAB) != {}
    assert _said(browser) == "The form now holds the settings of a.txt"
    browser.select("library")
    assert _said(browser) == ""


def test_another_session_has_its_own_results(page: Page, studio: Studio, tmp_path: Path) -> None:
    finished(scene_of(studio), texts(tmp_path, "a.txt"))
    browser = Browser(page)
    browser.open()
    first = browser.memory["session"]
    sent = browser.click(do="new-session", text="Second")
    assert browser.memory["session"] != first
    assert "Second" in sent[_panel(page, "header").component]
    assert browser.view.open == {}
    browser.click(do="session", key=first)
    assert browser.memory["session"] == first
    assert TAB in browser.view.open


def test_an_action_that_fails_is_a_sentence_and_changes_nothing_else(page: Page) -> None:
    browser = Browser(page)
    browser.open()
    sent = browser.click(do="delete", key="nothing")
    assert "does not exist" in _said(browser)
    assert 'role="alert"' in sent[_panel(page, "notice").component]
    assert page.tabset not in sent


def test_two_visitors_of_a_shared_studio_see_only_their_own(shared: Studio, tmp_path: Path) -> None:
    page = _page(shared)
    one, two = Browser(page, "1" * 32), Browser(page, "2" * 32)
    one.open()
    two.open()
    [job] = finished(scene_of(shared, "1" * 32), texts(tmp_path, "secret.txt"))
    sent = two.open(f"tab=demo&job={job.id}")
    assert not any("secret" in str(value) for value in sent.values())
    two.memory = {**two.memory, "session": one.memory["session"]}
    sent = two.select("library")
    assert not any("secret" in str(value) for value in sent.values())
    two.click(do="delete", key=job.id)
    assert "does not exist" in _said(two)
    assert [one.name for one in shared.jobs("1" * 32)] == ["secret.txt"]
    assert two.add(str(tmp_path)) == str(tmp_path)
    assert _said(two) == "Files of this machine cannot be named here; send yours instead"
    assert not page.tabs[0].path.parent.parent.visible  # type: ignore[union-attr]


def test_a_visitor_without_a_cookie_is_told(shared: Studio) -> None:
    with pytest.raises(gr.Error, match="keeps no cookies"):
        Browser(_page(shared)).open()


def test_every_event_of_the_page_is_private_and_needs_no_queue(studio: Studio) -> None:
    blocks = build_app(studio)
    known: list[dict[str, Any]] = blocks.get_config_file().get("dependencies", [])
    events = [event for event in known if event["backend_fn"]]
    public = {event["api_name"] for event in events if event["api_visibility"] != "private"}
    assert public == {
        "engines", "submit", "run", "status", "result", "jobs", "cancel",
        "presets", "save_preset", "delete_preset",
    }  # fmt: skip
    events = [event for event in events if event["api_name"] not in public]
    assert len(events) > 10
    assert not any(event["queue"] for event in events)


def test_what_is_open_without_need_is_off(studio: Studio) -> None:
    options = launch_options(studio)
    assert options["server_name"] == "127.0.0.1"
    for name in ("share", "show_error", "run_history", "enable_monitoring", "mcp_server", "pwa"):
        assert options[name] is False
    assert options["strict_cors"] is True
    assert "http" not in options["head"]
    assert free_port("127.0.0.1", 20000) >= 20000


def test_a_new_session_begins_with_the_preset_of_the_tab(page: Page, studio: Studio) -> None:
    preset = studio.presets.save("local", ENGINE, "Thrice", {"repeat": 3})
    studio.presets.start_with("local", preset)
    [form, *_] = page.tabs[0].forms
    repeat = form.form.controls[form.form.names.index("repeat")]
    browser = Browser(page)
    sent = browser.open()
    assert sent[repeat] == 3
    assert sent[page.tabs[0].choice] == ENGINE
    assert browser.view.presets["demo"] == preset.id
    assert page.drafts not in sent  # the browser keeps what a person has set, nothing else
    drafted = Browser(page, kept={ENGINE: {"repeat": 2}})
    assert drafted.open()[repeat] == 2
    sent = drafted.click(do="new-session", text="Anew")
    assert sent[repeat] == 3
    assert drafted.drafts == {}
    studio.presets.start_with("local", preset, on=False)
    assert repeat not in drafted.click(do="new-session", text="Again")
