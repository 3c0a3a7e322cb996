"""What the panels say of what the studio holds, in every state."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
import torch

from engines.base import UserError
from engines.raw.yond.arch import GuidedResUnet
from studio.catalogue import Catalogue, Network
from studio.checks import Checks
from studio.config import Settings
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from studio.panels import library, models
from studio.panels.files import FilesPanel
from studio.panels.header import HeaderPanel
from studio.panels.library import LibraryPanel
from studio.panels.models import ModelsPanel, ModelToolsPanel
from studio.panels.queue import QueuePanel
from studio.panels.result import ResultPanel
from studio.reader import Look
from studio.scene import Panel, Scene, View
from studio.tabs.raw import RawTab, exposure_in_words, noise_verdict, raw_facts
from tests.studio.scenes import TAB, finished, inbox_of, scene_of, submitted, texts

pytestmark = pytest.mark.usefixtures("tiny_engine")
BATCH = "b" * 32


@pytest.fixture(autouse=True)
def blocks() -> Iterator[None]:
    """Panels make their components inside a page."""
    with gr.Blocks():
        yield


@pytest.fixture
def result() -> ResultPanel:
    return ResultPanel(TAB, ("Empty", "Nothing yet"))


def _html(panel: Panel, scene: Scene) -> str:
    html = panel.html(scene)
    assert html is not None
    return html


def _text(panel: Panel, scene: Scene) -> str:
    """What is to be read, without tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", _html(panel, scene)).split())


def _shown(studio: Studio, panel: ResultPanel, job: JobView) -> str:
    return _html(panel, scene_of(studio, view=View(tab=TAB, open={TAB: job.id})))


# --- result -------------------------------------------------------------------------------------


def test_a_tab_that_is_not_open_is_left_alone(studio: Studio, result: ResultPanel) -> None:
    assert result.html(scene_of(studio, view=View(tab="raw"))) is None


def test_an_empty_result_says_what_to_do(studio: Studio, result: ResultPanel) -> None:
    assert _text(result, scene_of(studio)) == "Empty Nothing yet"


def test_a_finished_job_shows_files_measurements_settings_and_record(
    studio: Studio, result: ResultPanel, tmp_path: Path
) -> None:
    [job] = finished(scene_of(studio), texts(tmp_path, "a <b>.txt"), repeat=2)
    html = _shown(studio, result, job)
    assert "<b>.txt" not in html
    [output] = job.outputs
    assert f'href="studio/file/{output.id}/' in html
    assert "The text was read from its end" in html
    assert "<b>2</b>" in html  # a changed setting
    assert job.inputs[0].sha256[:16] in html
    assert "ns-strip" not in html
    assert html.count("Peak memory") == 1
    assert "peak mb" not in html


def test_a_file_that_was_moved_is_no_link(
    studio: Studio, result: ResultPanel, tmp_path: Path
) -> None:
    [job] = finished(scene_of(studio), texts(tmp_path, "a.txt"))
    job.outputs[0].path.unlink()
    html = _shown(studio, result, job)
    assert "was moved or deleted" in html
    assert "studio/file/" not in html


def test_a_failed_and_a_cancelled_job_say_why(
    studio: Studio, result: ResultPanel, tmp_path: Path
) -> None:
    [bad] = finished(scene_of(studio), texts(tmp_path, "a.txt"), fail="user")
    html = _shown(studio, result, bad)
    assert 'role="alert"' in html
    assert "It went wrong as you asked; set fail to no" in html
    assert "ns-download" not in html
    ids = submitted(scene_of(studio), texts(tmp_path, "b.txt"), seconds=30)
    studio.cancel_all("local")
    [stopped] = studio.wait("local", ids, poll=0.01)
    assert "Nothing was written" in _shown(studio, result, stopped)


def test_a_batch_has_a_strip_and_what_failed_can_be_run_again(
    studio: Studio, result: ResultPanel, tmp_path: Path
) -> None:
    paths = texts(tmp_path, "a.txt", "b.txt", "c.txt")
    paths[1].write_bytes(b"\xff")
    jobs = finished(scene_of(studio), paths, batch=BATCH)
    html = _shown(studio, result, jobs[2])
    assert "2 of 3 done, 1 failed" in html
    assert f'href="studio/zip/batch/{BATCH}"' in html
    assert f'data-do="retry-failed" data-key="{BATCH}"' in html
    pressed = re.findall(r'data-key="(\w+)" aria-pressed="true"', html)
    assert pressed == [jobs[2].id]
    assert html.count('aria-pressed="false"') == 2


def test_the_earlier_result_stays_until_the_next_is_there(
    studio: Studio, result: ResultPanel, tmp_path: Path
) -> None:
    [old] = finished(scene_of(studio), texts(tmp_path, "old.txt"))
    ids = submitted(scene_of(studio), texts(tmp_path, "new.txt"), batch=BATCH, seconds=0.5)
    view = View(tab=TAB, open={TAB: old.id}, coming={TAB: BATCH})
    text = _text(result, scene_of(studio, view=view))
    assert "The earlier result stays here until the new one is ready" in text
    assert "old.txt" in text
    studio.wait("local", ids, poll=0.01)
    assert "new.txt" in _text(result, scene_of(studio, view=view))
    assert view.coming == {}
    assert view.open == {TAB: ids[0]}


def test_a_batch_that_failed_as_a_whole_is_shown_too(
    studio: Studio, result: ResultPanel, tmp_path: Path
) -> None:
    finished(scene_of(studio), texts(tmp_path, "a.txt", "b.txt"), batch=BATCH, fail="user")
    text = _text(result, scene_of(studio, view=View(tab=TAB, coming={TAB: BATCH})))
    assert "0 of 2 done, 2 failed" in text
    assert "a.txt could not be processed." in text


def test_a_reload_opens_the_newest_result_and_awaits_only_what_has_none(
    studio: Studio, result: ResultPanel, tmp_path: Path
) -> None:
    scene = scene_of(studio)
    first, second = finished(scene, texts(tmp_path, "a.txt", "b.txt"), batch=BATCH)
    view = View(tab=TAB)
    result.open_latest(scene_of(studio, view=view))
    assert view.open == {TAB: second.id}
    finished(scene, texts(tmp_path, "bad.txt") * 60, fail="user")
    view = View(tab=TAB)
    result.open_latest(scene_of(studio, view=view))
    assert view.open == {TAB: second.id}  # rather than the last of many that failed
    waiting = submitted(scene, texts(tmp_path, "c.txt"), batch="c" * 32, seconds=30)
    view = View(tab=TAB, open={TAB: first.id})
    result.open_latest(scene_of(studio, view=view))
    assert (view.open, view.coming) == ({TAB: first.id}, {TAB: "c" * 32})
    studio.cancel_all("local")
    studio.wait("local", waiting, poll=0.01)


def test_outputs_in_a_folder_of_the_persons_say_where(
    studio: Studio, result: ResultPanel, settings: Settings, tmp_path: Path
) -> None:
    scene = scene_of(studio)
    ids = studio.submit(
        "local", scene.session.id, "demo.invert", [texts(tmp_path, "a.txt")], {},
        out_dir=tmp_path / "results",
    )  # fmt: skip
    [job] = studio.wait("local", ids, poll=0.01)
    shown = _shown(studio, result, job)
    assert f"In the folder <span><bdi>{tmp_path / 'results'}</bdi></span>" in shown
    assert f'data-copy="{tmp_path / "results"}"' in shown
    studio.settings = replace(settings, space=True)
    assert str(tmp_path) not in _shown(studio, result, job)


# --- RAW ----------------------------------------------------------------------------------------


def test_measured_noise_is_said_in_large_numbers_and_a_sentence() -> None:
    tab = RawTab("RAW", [])
    reading = tab.read({"K": (2.0, "DN/e-"), "sigma": (11.0, "DN"), "confidence": (0.9, ""),
                        "passes": (2.0, "")})  # fmt: skip
    assert [(row.name, row.value, row.unit) for row in reading.headline] == [
        ("Gain K", 2.0, "DN/e-"),
        ("Read noise sigma", 11.0, "DN"),
    ]
    assert reading.verdict is not None
    assert reading.verdict.tone == "sure"
    assert [row.name for row in reading.rest] == ["passes"]
    assert tab.read({"other": (1.0, "")}).headline == ()


@pytest.mark.parametrize(("confidence", "tone"), [(0.8, "sure"), (0.5, "sure"), (0.1, "doubt")])
def test_a_poor_measurement_is_doubted(confidence: float, tone: str) -> None:
    verdict = noise_verdict(confidence)
    assert verdict.tone == tone
    assert f"{100 * confidence:.0f} %" in verdict.text


def test_facts_of_a_raw_file() -> None:
    facts = raw_facts(Path(__file__).parents[1] / "data" / "raw" / "P003908.KDC")
    known = ("Kodak DC120 ZOOM Digital Camera", "ISO 160", "1/275 s", "848 x 976")
    assert facts.facts == known
    assert facts.more == {"width": 848, "height": 976}
    with pytest.raises(UserError):
        raw_facts(Path(__file__))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0.0, ""), (1 / 60, "1/60 s"), (0.5, "0.5 s"), (2.52, "2.5 s"), (30.0, "30 s")],
)
def test_exposure_as_cameras_show_it(seconds: float | None, words: str) -> None:
    assert exposure_in_words(seconds) == words


# --- queue, header, files -----------------------------------------------------------------------


def test_the_bar_is_gone_while_nothing_runs(studio: Studio) -> None:
    assert QueuePanel().html(scene_of(studio)) == ""


def test_the_bar_shows_what_runs_and_what_waits(studio: Studio, tmp_path: Path) -> None:
    panel = QueuePanel()
    scene = scene_of(studio)
    ids = submitted(scene, texts(tmp_path, "a.txt", "b.txt", "c.txt"), batch=BATCH, seconds=30)
    _until_it_moves(studio, ids[0])
    html, text = _html(panel, scene_of(studio)), _text(panel, scene_of(studio))
    assert 'role="progressbar"' in html
    assert 'aria-label="Cancel a.txt"' in html
    assert "1 of 3" in text
    assert "2 jobs waiting" in text
    assert "Cancel all" in text
    assert "1 running, 2 waiting" in _text(HeaderPanel(), scene_of(studio))
    stranger = scene_of(studio, "f" * 32)
    assert panel.html(stranger) == ""
    theirs = submitted(stranger, texts(tmp_path, "d.txt"))
    assert "1 job waiting, after 1 job of other visitors" in _text(
        panel, scene_of(studio, "f" * 32)
    )
    for owner in ("local", "f" * 32):
        studio.cancel_all(owner)
    studio.wait("local", ids, poll=0.01)
    studio.wait("f" * 32, theirs, poll=0.01)


def _until_it_moves(studio: Studio, job_id: str) -> None:
    deadline = time.monotonic() + 60
    while studio.job("local", job_id).done == 0:
        assert time.monotonic() < deadline, "it never began"
        time.sleep(0.01)


def test_the_header_names_session_device_and_place(studio: Studio, tmp_path: Path) -> None:
    [job] = finished(scene_of(studio), texts(tmp_path, "a.txt"))
    scene = scene_of(studio, view=View(tab=TAB, open={TAB: job.id}))
    html = _html(HeaderPanel(), scene)
    assert f'data-tab="demo" data-job="{job.id}"' in html
    text = _text(HeaderPanel(), scene)
    assert scene.session.name in text
    assert "CPU" in text
    assert "Idle" in text


def test_chosen_files_say_what_they_are(studio: Studio, tmp_path: Path) -> None:
    inbox, scene = inbox_of(studio), scene_of(studio)
    panel = FilesPanel(
        TAB, inbox,
        lambda path: Look(problem=f"{path.name} is bad") if "bad" in path.name else Look(("TXT",)),
        "example.txt",
    )  # fmt: skip
    assert "Try it with example.txt" in _text(panel, scene)
    texts(tmp_path, *(f"{number:03}.txt" for number in range(101)), "000-bad.txt")
    inbox.add_in_place(scene.session.id, TAB, str(tmp_path), (".txt",))
    text = _text(panel, scene)
    assert text.startswith("102 files")
    assert "1 cannot be used" in text
    assert "000-bad.txt is bad" in text
    assert text.endswith("and 2 more")
    assert not scene.awaited


def test_files_that_are_still_read_are_looked_at_again(studio: Studio, tmp_path: Path) -> None:
    inbox, scene = inbox_of(studio), scene_of(studio)
    [path] = texts(tmp_path, "a.txt")
    inbox.add_in_place(scene.session.id, TAB, str(path), (".txt",))
    panel = FilesPanel(TAB, inbox, lambda _: Look(pending=True))
    assert "reading" in _text(panel, scene)
    assert scene.awaited


# --- library, models ----------------------------------------------------------------------------


def test_the_library_is_drawn_once_and_the_header_says_when_there_is_more(
    studio: Studio, tmp_path: Path
) -> None:
    panel, header = LibraryPanel(), HeaderPanel()
    assert panel.html(scene_of(studio)) is None
    scene = scene_of(studio, view=View(tab=library.TAB))
    before = _html(panel, scene), _html(header, scene)
    finished(scene, texts(tmp_path, "a.txt"))
    scene = scene_of(studio, view=View(tab=library.TAB))
    assert _html(panel, scene) == before[0]
    assert _html(header, scene) != before[1]
    assert 'data-library=""' in _html(header, scene_of(studio))


def test_weights_are_listed_and_removable_but_not_in_a_shared_studio(
    studio: Studio, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = Checks(settings, lambda _: {"my-network": "the file was changed; add it again"})
    official = Network("raw.yond/x", "A <net>", "MIT", "at its hub", "")
    monkeypatch.setattr(models, "catalogue", lambda: Catalogue((official,), ()))
    panel = ModelsPanel(studio, checks)
    network = GuidedResUnet(4, 2, False)
    network.initialise(torch.Generator().manual_seed(7))
    torch.save(network.state_dict(), tmp_path / "my network.pth")
    assert studio.models.add(tmp_path / "my network.pth").id == "my-network"
    scene = scene_of(studio, view=View(tab=models.TAB))
    html = _html(panel, scene)
    assert 'data-do="remove-model" data-key="my-network"' in html
    assert html.count("remove-model") == 1
    assert "Nothing is loaded" in html
    scene.view.seen[panel.name] = "sent"
    assert "A &lt;net&gt;" in html
    assert "at its hub" in html
    assert panel.html(scene) is None  # it takes hashes, so it is not made for every look
    checks.start()
    deadline = time.monotonic() + 60
    while checks.running:
        assert time.monotonic() < deadline
    assert "the file was changed; add it again" in _html(panel, scene)
    studio.settings = replace(settings, space=True)
    theirs = _html(panel, scene_of(studio, "f" * 32, View(tab=models.TAB)))
    for hidden in ("remove-model", "check-models", "the file was changed", "Nothing is loaded"):
        assert hidden not in theirs
    assert ModelToolsPanel(studio).html(scene_of(studio, view=View(tab=models.TAB))) is None
