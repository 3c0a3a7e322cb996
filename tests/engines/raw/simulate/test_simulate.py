"""`raw.simulate`: a clean RAW gets the noise that was asked for, and the file says which."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from engines.base import Cancelled, Result, UserError
from engines.media.provenance import from_file
from engines.media.raw_file import read_raw
from engines.raw.noise.cameras import named
from engines.raw.simulate.engine import SimulateEngine
from engines.raw.simulate.params import SimulateParams
from studio.bench.job import BenchJob
from tests.engines.media.make_raw import write_dng

SIZE = (512, 768)
LIGHT = 4000


class _Job(BenchJob):
    def __init__(self, folder: Path, stop_after: int = 10**9) -> None:
        super().__init__(folder)
        folder.mkdir()
        self._left = stop_after

    def check_cancelled(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Cancelled


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    mosaic = np.full(SIZE, 512 + LIGHT, dtype=np.uint16)
    return write_dng(tmp_path / "clean.dng", mosaic)


def _run(path: Path, folder: Path, **params: Any) -> Result:
    return SimulateEngine().run([path], SimulateParams(**params), _Job(folder))


def test_mean_variance_and_rows_are_those_of_the_camera(clean: Path, tmp_path: Path) -> None:
    before = hashlib.sha256(clean.read_bytes()).digest()
    result = _run(clean, tmp_path / "job", iso=6400, ratio=20)
    assert hashlib.sha256(clean.read_bytes()).digest() == before
    true = named("sony-a7s-ii").profile.at(6400)
    assert true.K is not None
    assert true.sigma is not None
    assert true.sigma_row is not None
    raw = read_raw(result.outputs[0].path)
    signal = raw.mosaic.astype(np.float64) - 512
    light = LIGHT / 20
    assert signal.mean() == pytest.approx(light, rel=0.01)
    rows = signal.mean(axis=1)
    pixels = (signal - rows[:, None]).var()
    assert pixels == pytest.approx(true.K * light + true.sigma**2 + 1 / 12, rel=0.02)
    expected = true.sigma_row**2 + pixels / SIZE[1]
    assert rows.var() == pytest.approx(expected, rel=0.2)


def test_the_file_says_what_was_drawn(clean: Path, tmp_path: Path) -> None:
    result = _run(clean, tmp_path / "job", iso=3200, ratio=10, seed=9)
    output = result.outputs[0]
    assert (output.kind, output.primary) == ("raw", True)
    told = from_file(output.path)
    assert told is not None
    assert told["params"]["seed"] == 9
    assert told["measurements"]["lam"]["value"] == -0.035
    raw = read_raw(output.path)
    assert raw.facts.iso == 3200
    true = named("sony-a7s-ii").profile.at(3200)
    slope, floor = raw.facts.noise_profile
    span = 16383 - 512
    assert slope * span == pytest.approx(true.K)
    assert np.sqrt(floor) * span == pytest.approx(np.hypot(true.sigma or 0, 12**-0.5))
    assert result.measurements["ratio"].value == 10


def test_the_same_seed_gives_the_same_file(clean: Path, tmp_path: Path) -> None:
    one, other, third = (
        _run(clean, tmp_path / str(n), seed=seed).outputs[0].path.read_bytes()
        for n, seed in enumerate((4, 4, 5))
    )
    assert one == other
    assert one != third


def test_noise_is_scaled_to_the_files_own_range(tmp_path: Path) -> None:
    mosaic = np.full(SIZE, 64 + 500, dtype=np.uint16)
    small = write_dng(tmp_path / "small.dng", mosaic, black=(64, 64, 64, 64), white=1023)
    result = _run(small, tmp_path / "job", iso=3200, ratio=1)
    true = named("sony-a7s-ii").profile.at(3200)
    assert result.measurements["K"].value == pytest.approx((true.K or 0) * 959 / 15871)


def test_what_is_white_stays_white_and_dark_noise_is_not_cut_at_black(tmp_path: Path) -> None:
    mosaic = np.full(SIZE, 512, dtype=np.uint16)
    mosaic[:64, :64] = 16383
    file = write_dng(tmp_path / "a.dng", mosaic)
    out = read_raw(_run(file, tmp_path / "job", ratio=1).outputs[0].path).mosaic
    assert (out[:64, :64] == 16383).all()
    dark = out[100:].astype(float) - 512
    assert dark.min() < -8
    assert dark.mean() == pytest.approx(0.0, abs=0.1)


def test_a_learned_proxy_draws_too(clean: Path, tmp_path: Path) -> None:
    result = _run(clean, tmp_path / "job", iso=6400, ratio=300, noise="pnnp")
    true = named("sony-a7s-ii").profile.at(6400)
    assert result.measurements["sigma"].value == pytest.approx(true.sigma or 0, rel=0.02)
    signal = read_raw(result.outputs[0].path).mosaic.astype(np.float64) - 512
    light = LIGHT / 300
    rows = signal.mean(axis=1)
    variance = (true.K or 0) * light + (true.sigma or 0) ** 2
    assert (signal - rows[:, None]).var() == pytest.approx(variance, rel=0.05)
    assert list(result.models) == ["pnnp"]


def test_wrong_use_is_a_sentence(clean: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no camera profile called nobody"):
        _run(clean, tmp_path / "a", profile="nobody")
    with pytest.raises(UserError, match="no profile of this file's camera"):
        _run(clean, tmp_path / "b", profile="auto")
    with pytest.raises(ValidationError):
        SimulateParams(ratio=0.5)
    text = tmp_path / "text.dng"
    text.write_text("no RAW")
    with pytest.raises(UserError, match=r"text\.dng"):
        _run(text, tmp_path / "c")


def test_cancel_leaves_no_file(clean: Path, tmp_path: Path) -> None:
    job = _Job(tmp_path / "job", stop_after=1)
    with pytest.raises(Cancelled):
        SimulateEngine().run([clean], SimulateParams(), job)
    assert not list(job.workspace.glob("*.dng"))
