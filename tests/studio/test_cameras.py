"""Calibration through the command line and the queue: one item of many files, a profile kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.cameras import camera_choices
from studio.cli import main
from studio.config import LOCAL
from studio.jobs.requests import items_of
from studio.tabs.camera import calibration, settings_table
from tests.engines.raw.make_frames import truth, write_frame, write_set

SIZE = (256, 320)


def test_only_some_engines_take_all_files_as_one() -> None:
    paths = [Path("a"), Path("b")]
    assert items_of("raw.calibrate", paths) == [paths]
    assert items_of("raw.yond", paths) == [[Path("a")], [Path("b")]]


def test_a_folder_is_sorted_measured_and_kept(
    studio: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.stop()
    folder = tmp_path / "camera"
    write_set(folder / "darks", (3200.0,), flats=(), darks=3, size=SIZE)
    write_set(folder / "flats", (3200.0,), flats=(0.1, 0.4), darks=0, size=SIZE)
    (folder / "notes.json").write_text("{}")
    given = [str(folder), str(tmp_path / "gone"), "--out", str(tmp_path / "out"), "--json"]
    assert main(["run", "raw.calibrate", *given]) == 1  # a path is not there
    document = json.loads(capsys.readouterr().out)
    done, missing = document["jobs"]
    assert missing["state"] == "failed"
    assert done["state"] == "done", done["error"]
    assert done["measurements"]["dark_frames"]["value"] == 3
    assert done["measurements"]["flat_frames"]["value"] == 4
    assert done["measurements"]["left_out"]["value"] == 1  # the other JSON
    assert [file["kind"] for file in done["outputs"]] == ["profile", "document"]


def test_a_profile_lies_in_the_database_and_serves_the_next_job(
    studio: Any, tmp_path: Path
) -> None:
    noise = truth(3200)
    darks = [write_frame(tmp_path / f"d{n}.dng", noise, 3200, n, size=SIZE) for n in range(3)]
    flats = [
        write_frame(tmp_path / f"f{n}-{level}.dng", noise, 3200, 9 + n, size=SIZE, light=level,
                    exposure=level)
        for n in (0, 1) for level in (0.1, 0.4)
    ]  # fmt: skip
    session = studio.open_session(LOCAL)
    [job_id] = studio.submit(LOCAL, session.id, "raw.calibrate", [[*darks, *flats]], {})
    [job] = studio.wait(LOCAL, [job_id])
    assert job.state == "done", job.error
    assert job.name == "d0.dng and 6 more"
    [(name, profile)] = studio.store.cameras(LOCAL)
    assert name == "acme-one"
    assert profile["iso"][0]["K"] == pytest.approx(noise.K, rel=0.03)
    assert studio.store.cameras("somebody else") == []
    assert "profile" not in job.outputs[0].facts
    labels = {value: label for label, value in camera_choices(studio, LOCAL, none=True)}
    assert labels["acme-one"].startswith("acme-one (yours")
    assert {"auto", "none", "sony-a7s-ii"} <= set(labels)
    assert "acme-one" not in [name for _, name in camera_choices(studio, "", none=True)]
    made = {"profile": "acme-one", "iso": 3200, "ratio": 1}
    [again] = studio.submit(LOCAL, session.id, "raw.simulate", [[flats[0]]], made)
    [simulated] = studio.wait(LOCAL, [again])
    assert simulated.state == "done", simulated.error
    assert simulated.measurements["K"][0] == pytest.approx(profile["iso"][0]["K"])
    studio.delete_job(LOCAL, job_id)
    assert studio.store.cameras(LOCAL) == []


def test_what_the_page_says_of_a_camera() -> None:
    measured = {
        "dark_frames": (4.0, ""), "flat_frames": (6.0, ""), "left_out": (1.0, ""),
        "K_iso_100": (0.1201, "DN/e-"), "lam_iso_100": (0.121, ""), "K_iso_800": (0.96, "DN/e-"),
    }  # fmt: skip
    reading = calibration(measured)
    assert [(row.name, row.value) for row in reading.headline] == [
        ("Dark frames", 4.0), ("Flat frames", 6.0),
    ]  # fmt: skip
    assert [row.value for row in reading.rest] == [1.0]
    html = settings_table(measured)
    assert "ISO 100" in html
    assert "0.12" in html
    assert "\N{EN DASH}" in html  # lambda at ISO 800 was not measured
    assert settings_table({"K": (1.0, "")}) == ""
