"""Files with several pictures: the first, or the mean of all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.base import UserError
from engines.media.raw_file import read_raw
from engines.raw.yond.engine import YondEngine
from engines.raw.yond.frames import averaged
from engines.raw.yond.params import YondParams
from engines.raw.yond.process import of_mean
from studio.bench.job import BenchJob
from tests.engines.media.make_raw import flat_patches, write_dng
from tests.engines.raw.yond.test_engine import FolderJob


def test_a_mean_is_denoised_and_said(tmp_path: Path) -> None:
    mosaic = flat_patches(140, 160)
    path = write_dng(tmp_path / "a.dng", mosaic, frames=3)
    before = path.read_bytes()
    job = FolderJob(tmp_path)
    result = YondEngine().run([path], YondParams(frames="average"), job)
    assert path.read_bytes() == before
    found = read_raw(result.outputs[0].path).mosaic.mean() / 4
    assert found == pytest.approx(mosaic.mean() + 100, abs=1.0)  # each one is 100 DN brighter
    assert any("mean of 3 pictures" in note for note in result.notes)


def test_what_is_known_of_one_is_told_for_the_mean() -> None:
    found = of_mean(YondParams(K=4.0, sigma=6.0), 4)
    assert (found.K, found.sigma, found.profile) == (1.0, 3.0, "none")


def _two(folder: Path, second: np.ndarray) -> Path:
    """A file of two pictures, the second replaced."""
    path = write_dng(folder / "a.dng", _scene(), frames=2)
    data = path.read_bytes()
    old = (_scene() + np.uint16(100)).tobytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, second.astype(np.uint16).tobytes()))
    return path


def _scene() -> np.ndarray:
    random = np.random.default_rng(4)
    coarse = random.uniform(0.05, 0.6, (30, 40))
    return (512 + 15000 * np.kron(coarse, np.ones((8, 8)))).astype(np.uint16)


def test_shifted_pictures_are_refused(tmp_path: Path) -> None:
    path = _two(tmp_path, np.roll(_scene(), 2, axis=1))
    with pytest.raises(UserError, match=r"Picture 2 in a\.dng is shifted"):
        averaged(read_raw(path), path, BenchJob())


def test_an_exposure_series_is_refused(tmp_path: Path) -> None:
    path = _two(tmp_path, 512 + (_scene() - 512) // 4)
    with pytest.raises(UserError, match="differ in brightness"):
        averaged(read_raw(path), path, BenchJob())


def test_noise_is_no_shift(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    path = _two(tmp_path, _scene() + random.normal(0, 100, _scene().shape).clip(-400, 400))
    found = averaged(read_raw(path), path, BenchJob())
    assert found.dtype == np.float32
    assert float(found.mean()) == pytest.approx(float(_scene().mean()), abs=2.0)
