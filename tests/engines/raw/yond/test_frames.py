"""Several pictures of one scene, in one file or in several: averaged, put together, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.raw_file import read_raw
from engines.raw.yond.engine import YondEngine
from engines.raw.yond.frames import Shot, Together, together
from engines.raw.yond.params import CleanParams, YondParams
from engines.raw.yond.process import of_mean
from engines.raw.yond.shifted import Merger
from engines.raw.yond.stack import StackEngine
from studio.bench.job import BenchJob
from tests.engines.media.make_raw import flat_patches, write_dng
from tests.engines.raw.yond.test_engine import FolderJob

PIXEL_SHIFT = ((0, 0), (1, 0), (1, 1), (0, 1))


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
    assert result.measurements["pictures"].value == 3


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


def _of_file(path: Path) -> Together:
    return together(read_raw(path), [Shot(path, 0), Shot(path, 1)], BenchJob())


@pytest.mark.parametrize("by", [(0, 10), (0.6, 0)], ids=["far", "part of a photosite"])
def test_pictures_from_the_hand_are_refused(by: tuple[float, float], tmp_path: Path) -> None:
    moved = np.fft.ifft2(_phased(_scene().astype(float), by)).real
    path = _two(tmp_path, moved.clip(0, 16383))
    with pytest.raises(UserError, match=r"Picture 2 in a\.dng is shifted"):
        _of_file(path)


def _phased(picture: NDArray[np.float64], by: tuple[float, float]) -> NDArray[np.complex128]:
    rows, columns = (np.fft.fftfreq(n) for n in picture.shape)
    turn = rows[:, None] * by[0] + columns[None] * by[1]
    return np.fft.fft2(picture) * np.exp(-2j * np.pi * turn)


def test_an_exposure_series_is_refused(tmp_path: Path) -> None:
    path = _two(tmp_path, 512 + (_scene() - 512) // 4)
    with pytest.raises(UserError, match="differs in brightness"):
        _of_file(path)


def test_noise_is_no_shift(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    path = _two(tmp_path, _scene() + random.normal(0, 100, _scene().shape).clip(-400, 400))
    found = _of_file(path)
    assert found.still
    assert found.mean.dtype == np.float32
    assert float(found.mean.mean()) == pytest.approx(float(_scene().mean()), abs=2.0)


def _shots(
    folder: Path, shifts: Sequence[tuple[int, int]], sigma: float
) -> tuple[list[Path], NDArray[np.float32]]:
    """A file a shift of a sensor before one scene, and the scene's light as the first saw it."""
    random = np.random.default_rng(6)
    grey = np.kron(random.uniform(0.05, 0.5, (5, 7)), np.ones((48, 48)))
    light = np.stack([0.5 * grey, grey, 0.7 * grey[::-1]], axis=2).astype(np.float32)
    height, width = light.shape[0] - 4, light.shape[1] - 4
    paths: list[Path] = []
    for number, (dy, dx) in enumerate(shifts):
        seen = light[2 - dy : 2 - dy + height, 2 - dx : 2 - dx + width]
        mosaic = np.empty((height, width))
        for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
            mosaic[y::2, x::2] = seen[y::2, x::2, channel]
        noisy = 512 + 15871 * mosaic + random.normal(0, sigma, mosaic.shape)
        whole = np.clip(np.rint(noisy), 0, 16383).astype(np.uint16)
        paths.append(write_dng(folder / f"shot{number}.dng", whole))
    return paths, light[2 : 2 + height, 2 : 2 + width]


@pytest.mark.parametrize("shifts", [PIXEL_SHIFT, ((0, 0), (-1, 0), (-1, -1), (0, -1))])
def test_pixel_shift_gives_every_colour_at_every_pixel(
    shifts: Sequence[tuple[int, int]], tmp_path: Path
) -> None:
    paths, light = _shots(tmp_path, shifts, 4.0)
    raw = read_raw(paths[0])
    found = together(raw, [Shot(path) for path in paths], BenchJob())
    assert found.shifts == tuple(shifts)
    assert not found.still
    merger = Merger(raw.facts, found.shifts, "a.dng")
    for path, shift in zip(paths, found.shifts, strict=True):
        merger.add(read_raw(path).mosaic, shift)
    top, left = (max(0, -min(one[axis] for one in shifts)) for axis in (0, 1))
    height, width = raw.facts.height - 1, raw.facts.width - 1
    truth = 512 + 15871 * light[top : top + height, left : left + width]
    merged = merger.finish()
    assert merged.shape == truth.shape
    assert float(np.abs(merged - truth).max()) < 8 * 4.0  # of the noise: no place is wrong
    facts = merger.facts()
    assert (facts.kind, facts.black, facts.height) == ("linear", (512.0, 512.0, 512.0), height)


def test_a_stack_is_one_dng_of_three_colours_or_a_mean(tmp_path: Path) -> None:
    paths, light = _shots(tmp_path, PIXEL_SHIFT, 60.0)
    (tmp_path / "job").mkdir()
    result = StackEngine().run(paths, CleanParams(quality="fast"), FolderJob(tmp_path / "job"))
    done = read_raw(result.outputs[0].path)
    assert done.facts.kind == "linear"
    truth = 512 + 15871 * light[: done.facts.height, : done.facts.width]
    error = done.mosaic.astype(np.float32) / 4 - truth
    assert float(np.abs(np.median(error, axis=(0, 1))).max()) < 10.0
    assert float(np.abs(error).mean()) < 0.5 * 60.0
    assert any("pixel shift" in note for note in result.notes)
    still, _ = _shots(tmp_path, ((0, 0), (0, 0)), 60.0)
    (tmp_path / "mean").mkdir()
    result = StackEngine().run(still, CleanParams(quality="fast"), FolderJob(tmp_path / "mean"))
    assert read_raw(result.outputs[0].path).facts.kind == "bayer"
    assert result.measurements["pictures"].value == 2


def test_what_is_no_stack_is_refused(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    job = FolderJob(tmp_path / "job")
    one = write_dng(tmp_path / "one.dng", _scene())
    with pytest.raises(UserError, match="two or more"):
        StackEngine().run([one], CleanParams(), job)
    other = write_dng(tmp_path / "other.dng", _scene()[:100])
    with pytest.raises(UserError, match=r"other\.dng differs from one\.dng"):
        StackEngine().run([one, other], CleanParams(), job)
    paths, _ = _shots(tmp_path, PIXEL_SHIFT[:2], 4.0)
    with pytest.raises(UserError, match="not so that each place was seen in every colour"):
        StackEngine().run(paths, CleanParams(), job)
