"""The speech tab: what it says of files and of measurements, and what its player is given."""

from __future__ import annotations

import json
import re
import wave
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy
import pytest

from engines import registry
from engines.base import Result, UserError
from studio.config import LOCAL
from studio.inbox import Inbox
from studio.jobs.service import Studio
from studio.panels.files import FilesPanel
from studio.panels.result import ResultPanel
from studio.reader import Look
from studio.scene import View
from studio.tabs.speech import SpeechTab, clock, removal_verdict, sound_facts
from tests import engines_for_tests
from tests.studio.scenes import inbox_of, scene_of


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Panels make their components inside a page; the engine for tests is known."""
    monkeypatch.setattr("engines.registry._added", dict(registry.added()))
    engines_for_tests.register_sound()
    with gr.Blocks():
        yield


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A quarter of a second of noise, 16 bit, stereo."""
    path = tmp_path / "talk.wav"
    samples = numpy.random.default_rng(0).normal(0, 2000, 4000).astype("<i2")
    with wave.open(str(path), "wb") as sound:
        sound.setparams((2, 2, 8000, 0, "NONE", ""))
        sound.writeframes(samples.tobytes())
    return path


def _shown(studio: Studio, path: Path, **params: Any) -> tuple[str, list[dict[str, Any]]]:
    """The result panel of a finished job, and what its player is given."""
    scene = scene_of(studio, view=View(tab="speech"))
    ids = studio.submit(LOCAL, scene.session.id, engines_for_tests.SOUND, [[path]], params)
    [job] = studio.wait(LOCAL, ids, poll=0.01)
    assert job.state == "done", job.error
    scene.view.open["speech"] = job.id
    html = ResultPanel("speech", ("", ""), SpeechTab("Speech", []).read).html(scene) or ""
    found = re.search(r'<ns-player tracks="([^"]*)" alt="talk.wav">', html)
    assert found is not None
    return html, json.loads(unescape(found[1]))


def test_the_player_gets_every_track_with_its_picture(studio: Studio, recording: Path) -> None:
    html, tracks = _shown(studio, recording)
    assert [track["label"] for track in tracks] == ["Before", "After", "Removed"]
    assert tracks[0]["loudness"] - tracks[1]["loudness"] == pytest.approx(12.04, abs=0.1)
    assert tracks[0]["marks"] == [[1000, 0.25], [2000, 0.5]]
    for track in tracks:
        assert re.fullmatch(r"studio/file/\w+/track-\w+\.wav", track["sound"])
        assert re.fullmatch(r"studio/file/\w+/track-\w+\.png", track["picture"])
    assert "Noise removed" in html
    assert "ns-compare" not in html
    assert html.count("track-") == 6  # tracks are no downloads


def test_silence_has_no_loudness_to_match(studio: Studio, recording: Path) -> None:
    _, tracks = _shown(studio, recording, share=1.0)
    assert tracks[2]["loudness"] is None


def test_one_file_cannot_be_two_things(
    studio: Studio, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output may be moved to a folder of the person's, and the player would lose it."""
    run = engines_for_tests.SoundEngine.run

    def twice(*given: Any) -> Result:
        result = run(*given)
        return Result(result.outputs, tracks=[result.tracks[0], result.tracks[0]])

    monkeypatch.setattr(engines_for_tests.SoundEngine, "run", twice)
    ids = studio.submit(LOCAL, studio.open_session(LOCAL).id, engines_for_tests.SOUND,
                        [[recording]], {})  # fmt: skip
    [job] = studio.wait(LOCAL, ids, poll=0.01)
    assert (job.state, job.tracks) == ("failed", ())


def test_a_chosen_sound_can_be_listened_to_unless_it_is_none(
    studio: Studio, recording: Path
) -> None:
    scene, inbox = scene_of(studio, view=View(tab="speech")), inbox_of(studio)
    recording.with_name("bad.wav").write_text("words")
    for name in ("talk.wav", "bad.wav"):
        inbox.add_in_place(scene.session.id, "speech", str(recording.with_name(name)), (".wav",))
    html = _panel(inbox).html(scene) or ""
    [address] = re.findall(r'<ns-listen src="([^"]*)"', html)
    assert address.startswith(f"studio/chosen/{scene.session.id}/speech/")
    assert address.endswith("/talk.wav")


def test_the_example_names_whose_voice_it_is(studio: Studio) -> None:
    scene = scene_of(studio, view=View(tab="speech"))
    tab = SpeechTab("Speech", [])
    assert tab.example is not None
    html = _panel(inbox_of(studio), tab.example.name, tab.credit).html(scene) or ""
    assert "Try it with voice-beside-a-fan.flac" in html
    assert "Allison Smith" in html
    assert "CC BY-SA 3.0" in html
    length, kind = sound_facts(tab.example)
    assert (length, kind) == ("0:07", "48 kHz, mono, 16-bit, FLAC")


def _panel(inbox: Inbox, example: str = "", credit: str = "") -> FilesPanel:
    def look(path: Path) -> Look:
        return Look(problem="no sound") if "bad" in path.name else Look(("0:01",))

    return FilesPanel("speech", inbox, look, example, credit=credit, listen=True)


def test_facts_of_a_recording(recording: Path) -> None:
    assert sound_facts(recording) == ("0:01", "8 kHz, stereo, 16-bit, WAV")
    text = recording.with_name("text.mp3")
    text.write_text("no sound at all")
    with pytest.raises(UserError, match=r"text\.mp3"):
        sound_facts(text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, ""), (float("nan"), ""), (0.01, "0:01"), (59.6, "1:00"), (3492, "58:12"),
     (3723, "1:02:03")],
)  # fmt: skip
def test_lengths_are_shown_as_players_do(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_what_was_removed_is_said_in_large_numbers_and_a_sentence() -> None:
    reading = SpeechTab("Speech", []).read({
        "noise_removed": (17.46, "dB"), "loudness_before": (-23.04, "LUFS"),
        "snr_before": (4.0, "dB"), "network_calls": (9.0, ""),
    })  # fmt: skip
    assert [(row.name, row.value, row.unit) for row in reading.headline] == [
        ("Noise removed", 17.5, "dB"),
        ("Loudness before", -23.0, "LUFS"),
    ]
    assert reading.verdict == removal_verdict(17.46)
    assert [row.name for row in reading.rest] == [
        "signal-to-noise ratio before",
        "network calls",
    ]
    sentences = {removal_verdict(value).text for value in (0.0, 10.0, 60.0)}
    assert len(sentences) == 3
    assert SpeechTab("Speech", []).read({"size": (3.0, "B")}).headline == ()


def test_people_are_told_of_the_files_they_know() -> None:
    tab = SpeechTab("Speech", [])
    tab.suffixes = (".aiff", ".wav", ".mp3", ".voc")
    assert tab.named == [".wav", ".mp3", ".aiff", ".voc"]
