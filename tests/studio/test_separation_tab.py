"""The separation tab: what it asks for, and what it says of what was found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest

from engines.base import UserError
from engines.separation.engine import ClipSepEngine
from studio.fields import fields_of
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from studio.scene import View
from studio.tabs.separation import SeparationTab, sounds_of, verdict, when_heard
from tests.studio.scenes import inbox_of, scene_of

MEASURED = {
    "found_piano": (1.0, ""), "found_theremin": (0.0, ""),
    "presence_piano": (62.4, "%"), "share_piano": (31.25, "%"), "heard_piano": (4.04, "s"),
    "likeness_piano": (1.0, ""),
    "presence_theremin": (1.26, "%"), "share_theremin": (0.2, "%"), "heard_theremin": (0.0, "s"),
    "likeness_theremin": (0.31, ""),
    "seconds_of_sound": (6.0, "s"), "real_time_factor": (0.05, ""),
}  # fmt: skip


@pytest.fixture
def tab(studio: Studio) -> Iterator[SeparationTab]:
    """The tab on a page, its engine alone."""
    made = SeparationTab("Separation", [ClipSepEngine])
    with gr.Blocks():
        made.build(
            studio, inbox_of(studio), lambda _network: [("Small (bundled)", "clipsep-small")]
        )
        yield made


def _job() -> JobView:
    def track(label: str, spans: list[list[float]]) -> tuple[Any, Any]:
        return SimpleNamespace(label=label), SimpleNamespace(facts={"spans": spans})

    tracks = [
        track("Before", []),
        track("piano", [[0.0, 1.5], [61.0, 62.5]]),
        track("theremin", []),
    ]
    return cast("JobView", SimpleNamespace(measurements=MEASURED, tracks=tracks))


def test_a_sound_has_to_be_named(tab: SeparationTab, studio: Studio) -> None:
    scene = scene_of(studio, view=View(tab="separation"))
    [one] = tab.forms
    given = dict(zip(one.form.names, one.form.values({}), strict=True))
    with pytest.raises(UserError, match="Name a sound first"):
        tab.submit(scene, inbox_of(studio), ClipSepEngine.id, list(given.values()))
    given["query"] = "piano\nrain"
    with pytest.raises(UserError, match="Add a recording first"):
        tab.submit(scene, inbox_of(studio), ClipSepEngine.id, list(given.values()))


def test_words_on_offer_are_beside_their_field() -> None:
    [query] = [field for field in fields_of(ClipSepEngine.Params) if field.name == "query"]
    assert query.kind == "lines"
    assert query.offered is not None
    assert "piano" in query.offered["Music"]
    assert query.read(" piano \n\nrain") == ["piano", "rain"]
    assert query.words(["a-b", "dng"]) == "a-b, dng"
    with gr.Blocks() as page:
        SeparationTab("Separation", [ClipSepEngine])._form(
            ClipSepEngine, lambda _network: [], False
        )
    html = [str(block.value) for block in page.blocks.values() if isinstance(block, gr.HTML)]
    [words] = [one for one in html if 'for="separation-clipsep-query"' in one]
    groups = json.loads(unescape(words.split('groups="')[1].split('"')[0]))
    assert groups[0][0] == "Music"
    assert [one for one in html if 'for="separation-clipsep-negative"' in one]


def test_pictures_are_looked_for_and_sounds_are_read(tab: SeparationTab, tmp_path: Path) -> None:
    assert tab.look(tmp_path / "dog.JPG").facts == ("picture of what to look for",)


def test_a_picture_beside_a_recording_is_its_query(
    tab: SeparationTab, studio: Studio, tmp_path: Path
) -> None:
    scene, inbox = scene_of(studio, view=View(tab="separation")), inbox_of(studio)
    for name in ("dog.png", "a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"x")
    suffixes = (".wav", ".png")
    inbox.add_in_place(scene.session.id, "separation", str(tmp_path), suffixes)
    [one] = tab.forms
    tab.submit(scene, inbox, ClipSepEngine.id, one.form.values({}))
    jobs = scene.studio.jobs(scene.owner, session_id=scene.session.id)
    assert sorted(job.inputs[0].name for job in jobs) == ["a.wav", "b.wav"]
    assert {tuple(job.params["picture"]) for job in jobs} == {(str(tmp_path / "dog.png"),)}
    shared = Studio(replace(studio.settings, space=True))
    with pytest.raises(UserError, match="on your own machine"):
        tab.submit(replace(scene, studio=shared), inbox, ClipSepEngine.id, one.form.values({}))


def test_presence_is_said_in_large_numbers_and_what_was_not_found() -> None:
    reading = SeparationTab("Separation", []).read(MEASURED)
    assert [(row.name, row.value, row.unit) for row in reading.headline] == [
        ("piano", 62.0, "%"),
        ("theremin", 1.3, "%"),
    ]
    assert reading.verdict == verdict(["theremin"], 2)
    assert "Not found: theremin" in verdict(["theremin"], 2).text
    assert "Nothing that you named" in verdict(["a", "b"], 2).text
    assert verdict([], 2).tone == "sure"
    assert [row.name for row in reading.rest] == ["length", "time taken, by length"]
    assert SeparationTab("Separation", []).read({"size": (3.0, "B")}).headline == ()


def test_the_table_of_sounds() -> None:
    piano, theremin = sounds_of(_job())
    assert (piano.found, piano.presence, piano.share) == ("yes", "62 %", "31.2 %")
    assert (piano.heard, piano.times) == ("4 s", "0:00.0\N{EN DASH}0:01.5, 1:01.0\N{EN DASH}1:02.5")
    assert (piano.likeness, theremin.likeness) == ("1.00", "0.31 (not learned)")
    assert (theremin.found, theremin.times) == ("no", "")
    html = SeparationTab("Separation", []).more(_job(), cast("Any", None))
    assert "theremin" in html
    assert "not learned" in html


def test_times_are_named_up_to_six() -> None:
    assert when_heard([]) == ""
    assert when_heard([(n, n + 1.0) for n in range(8)]).endswith(
        "0:05.0\N{EN DASH}0:06.0 and 2 more"
    )
