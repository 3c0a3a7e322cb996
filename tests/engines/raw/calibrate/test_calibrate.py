"""Calibration of a camera whose noise is known in every part, and of bad sets."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.base import Cancelled, Result, UserError
from engines.raw.calibrate.engine import CalibrateEngine
from engines.raw.calibrate.params import CalibrateParams
from engines.raw.noise.profile import CameraProfile, read_profile
from studio.bench.job import BenchJob
from tests.engines.media.make_raw import write_dng
from tests.engines.raw.make_frames import BLACK, SIZE, WHITE, truth, write_frame, write_set

ISOS = (100.0, 3200.0, 12800.0)


class _Job(BenchJob):
    def __init__(self, folder: Path, stop_after: int = 10**9) -> None:
        super().__init__(folder)
        folder.mkdir(exist_ok=True)
        self._left = stop_after

    def check_cancelled(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Cancelled


def _run(files: list[Path], folder: Path, **params: Any) -> tuple[Result, CameraProfile]:
    result = CalibrateEngine().run(files, CalibrateParams(**params), _Job(folder))
    return result, read_profile(result.outputs[0].path)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_set(tmp_path_factory.mktemp("set"), ISOS)


@pytest.fixture(scope="module")
def whole(
    frames: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Result, CameraProfile]:
    return _run(frames, tmp_path_factory.mktemp("out") / "workspace")


@pytest.mark.parametrize("iso", ISOS)
def test_every_parameter_is_recovered(whole: tuple[Result, CameraProfile], iso: float) -> None:
    found, true = whole[1].at(iso), truth(iso)
    assert found.K == pytest.approx(true.K, rel=0.01)
    assert found.sigma == pytest.approx(true.sigma, rel=0.01)
    assert found.sigma_tl == pytest.approx(true.sigma_tl, rel=0.02)
    assert found.lam == pytest.approx(true.lam, abs=0.01)
    assert found.sigma_row == pytest.approx(true.sigma_row, rel=0.08)  # of some 1500 rows
    assert found.bias == pytest.approx(true.bias, abs=0.02 + 0.01 * true.sigma)


def test_laws_and_levels_are_the_cameras(whole: tuple[Result, CameraProfile]) -> None:
    profile = whole[1]
    assert (profile.bl, profile.wl, profile.bits) == (BLACK, WHITE, 14)
    assert "Acme" in profile.model
    assert profile.lines["sigma_tl"].a == pytest.approx(0.75, abs=0.01)
    assert profile.lines["sigma_row"].a == pytest.approx(0.7, abs=0.04)
    assert profile.hot == ()


def test_the_report_has_plots_and_numbers(whole: tuple[Result, CameraProfile]) -> None:
    result = whole[0]
    assert [figure.label for figure in result.figures] == [
        "Photon transfer", "Quantiles of the dark", "Laws over the gain",
    ]  # fmt: skip
    assert [output.kind for output in result.outputs] == ["profile", "document"]
    report = json.loads(result.outputs[1].path.read_text())
    highest = report["settings"][-1]
    assert highest["r2_tukey"] > 0.998
    assert highest["r2_tukey"] > highest["r2_gauss"] + 0.02
    assert highest["r2_gain"] > 0.999
    assert result.measurements["K_error_iso_100"].value < 1.0
    assert result.notes == []


def test_darks_alone_and_flats_alone_make_one_camera_together(
    frames: list[Path], tmp_path: Path
) -> None:
    darks = [path for path in frames if "dark-3200" in path.name]
    flats = [path for path in frames if "flat-3200" in path.name]
    said, dark = _run(darks, tmp_path / "darks")
    assert dark.at(3200).K is None
    assert dark.at(3200).lam is not None
    assert any("nothing of K" in note for note in said.notes)
    said, flat = _run(flats, tmp_path / "flats")
    assert flat.at(3200).K == pytest.approx(truth(3200).K, rel=0.02)
    assert flat.at(3200).sigma is None
    profile = tmp_path / "darks" / "acme-one.json"
    _, both = _run([*flats, profile], tmp_path / "both")
    assert both.at(3200).K == pytest.approx(flat.at(3200).K, rel=0.01)
    assert both.at(3200).sigma == dark.at(3200).sigma


def test_gain_of_a_setting_without_flats_follows_from_the_others(
    frames: list[Path], tmp_path: Path
) -> None:
    some = [path for path in frames if not path.name.startswith("flat-12800")]
    result, profile = _run(some, tmp_path / "out")
    assert profile.at(12800).K == pytest.approx(truth(12800).K, rel=0.02)
    assert any("K at ISO 12800 was not measured" in note for note in result.notes)


def test_fixed_pattern_and_hot_pixels_are_told_from_noise(tmp_path: Path) -> None:
    noise = truth(3200)
    pattern = np.random.default_rng(9).normal(0.0, 4.0, SIZE)
    places = [(10, 20), (11, 333), (200, 7), (383, 511)]
    for row, column in places:
        pattern[row, column] = 30.0 * noise.sigma
    files = [write_frame(tmp_path / f"d{n}.dng", noise, 3200, n, pattern=pattern) for n in range(6)]
    result, profile = _run(files, tmp_path / "out")
    assert set(profile.hot) == set(places)
    assert result.measurements["fixed_pattern_iso_3200"].value == pytest.approx(4.0, rel=0.1)
    found = profile.at(3200)
    assert found.sigma == pytest.approx(noise.sigma, rel=0.01)
    assert found.lam == pytest.approx(noise.lam, abs=0.03)


def test_bad_frames_are_named_and_left_out(frames: list[Path], tmp_path: Path) -> None:
    noise, good = truth(3200), [path for path in frames if "3200" in path.name]
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    picture = 3000.0 + 2500.0 * np.sin(x / 20.0) * np.sin(y / 30.0)
    dim = 60.0 * (1.0 + np.sin(x / 90.0))
    stepped = np.round(np.random.default_rng(1).normal(9000, 200, SIZE) / 32) * 32
    bad = {
        "picture.dng": ({"clean": picture}, "a picture rather than an evenly lit surface"),
        "open.dng": ({"clean": dim}, "was the lens cap off"),
        "bright.dng": ({"light": 1.0}, "overexposed"),
        "between.dng": ({"light": 0.015}, "too bright for a dark frame"),
        "other.dng": ({"model": "Acme Two", "make": "Acme"}, "of a Acme Two"),
    }
    files: list[Path] = []
    for number, (name, (how, _)) in enumerate(bad.items()):
        files.append(write_frame(tmp_path / name, noise, 3200, 50 + number, **how))
    for n in (0, 1):
        path = tmp_path / f"lossy-{n}.dng"
        tags = [(34855, 3, 1, 3200, True)]
        files.append(write_dng(path, stepped.astype(np.uint16), more=tags))
    unknown = write_dng(tmp_path / "unknown.dng", np.full(SIZE, 512, np.uint16))
    text = tmp_path / "text.dng"
    text.write_text("no RAW at all")
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in (*files, *good)}
    result, profile = _run([*good, *files, unknown, text], tmp_path / "out")
    said = " ".join(result.notes)
    for name, (_, reason) in bad.items():
        assert any(name in note and reason in note for note in result.notes), (name, said)
    assert any("lossy-0.dng" in note and "compressed with loss" in note for note in result.notes)
    assert "unknown.dng" in said
    assert "text.dng" in said
    assert profile.at(3200).K == pytest.approx(truth(3200).K, rel=0.01)
    assert all(hashlib.sha256(p.read_bytes()).digest() == digest for p, digest in before.items())


def test_nothing_usable_is_one_sentence(tmp_path: Path) -> None:
    text = tmp_path / "a.dng"
    text.write_text("no RAW at all")
    with pytest.raises(UserError, match=r"None of these frames can be used: a\.dng"):
        _run([text], tmp_path / "out")


def test_a_zip_is_read_member_by_member(frames: list[Path], tmp_path: Path) -> None:
    packed = tmp_path / "frames.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in frames:
            if "3200" in path.name:
                archive.write(path, f"shoot/{path.name}")
        archive.writestr("__MACOSX/shoot/._dark.dng", b"no frame")
    _, profile = _run([packed], tmp_path / "out")
    assert profile.at(3200).lam == pytest.approx(truth(3200).lam, abs=0.01)
    assert not list((tmp_path / "out").glob(".frame*"))


def test_cancel_stops_in_the_middle_and_leaves_no_frame(frames: list[Path], tmp_path: Path) -> None:
    job = _Job(tmp_path / "out", stop_after=len(frames) + 10)
    with pytest.raises(Cancelled):
        CalibrateEngine().run(frames, CalibrateParams(), job)
    assert not list((tmp_path / "out").iterdir())
