"""Numbers, times and names as a person reads them, and nothing of theirs that runs as HTML."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from jinja2 import UndefinedError

from studio.markup import (
    TEMPLATES,
    duration,
    figures,
    file_url,
    filesize,
    plural,
    render,
    sentence,
    when,
)
from studio.scene import Notice


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (812, "812 bytes"), (999_400, "999 kB"), (999_600, "1.0 MB"),
     (24_300_000, "24.3 MB"), (243_000_000, "243 MB"), (5e9, "5.0 GB"), (2.5e12, "2.5 TB")],
)  # fmt: skip
def test_filesize(count: float, words: str) -> None:
    assert filesize(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (float("nan"), ""), (0, "0 s"), (0.26, "0.3 s"), (8.0, "8 s"), (59.4, "59 s"),
     (59.6, "1 min"), (200, "3 min 20 s"), (3600, "1 h 0 min"), (7500, "2 h 5 min")],
)  # fmt: skip
def test_duration(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(2, "2"), (2.0, "2"), (0.1688123, "0.1688"), (123456.7, "1.23e+05"), (1e-7, "1e-07"),
     (True, "True"), ("as is", "as is")],
)  # fmt: skip
def test_figures(value: object, words: str) -> None:
    assert figures(value) == words


def test_small_words() -> None:
    assert plural(1, "file") == "1 file"
    assert plural(0, "file") == "0 files"
    assert plural(2, "child", "children") == "2 children"
    assert when(None) == ""
    shown = when(datetime(2026, 11, 24, 8, 5, tzinfo=UTC))
    assert shown == ('<ns-time at="2026-11-24T08:05:00+00:00">2026-11-24 08:05 UTC</ns-time>')


def test_addresses_carry_any_name() -> None:
    assert file_url("ab", "a b/c?.dng") == "studio/file/ab/a%20b%2Fc%3F.dng"
    assert file_url("ab", "ü.dng", download=True) == "studio/file/ab/%C3%BC.dng?download=1"


def test_what_people_write_is_never_markup() -> None:
    evil = "<img src=x onerror=alert(1)>&\"'"
    assert evil not in render("notice.html", notice=Notice(evil))
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;" in render("notice.html", notice=Notice(evil))
    assert sentence(evil) == "&lt;img src=x onerror=alert(1)&gt;&amp;&#34;&#39;"


def test_a_notice_is_an_alert_only_where_something_is_wrong() -> None:
    assert render("notice.html", notice=None) == ""
    assert 'role="alert"' in render("notice.html", notice=Notice("No"))
    assert 'role="status"' in render("notice.html", notice=Notice("Yes", wrong=False))


def test_a_value_that_is_missing_is_an_error_and_not_a_gap() -> None:
    with pytest.raises(UndefinedError):
        render("models.html", models=[])


def test_no_template_asks_another_host_for_anything() -> None:
    for template in TEMPLATES.glob("*.html"):
        assert "//" not in template.read_text(encoding="utf-8"), template.name
