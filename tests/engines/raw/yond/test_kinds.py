"""`raw.yond` and what follows it, from files of every kind of sensor to their outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engines.base import Result, UserError
from engines.media.raw_file import read_raw
from engines.raw.calibrate.engine import CalibrateEngine
from engines.raw.calibrate.params import CalibrateParams
from engines.raw.noiser.develop import developed
from engines.raw.noiser.proxy import forget, proxy
from engines.raw.simulate.engine import SimulateEngine
from engines.raw.simulate.params import SimulateParams
from engines.raw.yond.engine import YondEngine
from engines.raw.yond.others import blended
from engines.raw.yond.params import YondParams
from studio.bench.job import BenchJob
from tests.engines.media.make_raw import write_dng
from tests.engines.media.test_raw_kinds import GREY, KINDS, _grey

GAIN = 6.0
SIZE = (131, 157)  # no whole cells of any filter


def _file(kind: str, folder: Path, gain: float = GAIN) -> tuple[Path, NDArray[np.uint16]]:
    clean = _grey(kind, SIZE)
    random = np.random.default_rng(3)
    photons = random.poisson(np.maximum(clean - 512.0, 0.0) / gain)
    drawn = 512.0 + gain * photons + random.normal(0.0, gain, clean.shape)
    mosaic = np.clip(np.rint(drawn), 0, 16383).astype(np.uint16)
    return write_dng(folder / "in.dng", mosaic, **KINDS[kind]), clean


def _run(path: Path, folder: Path, **params: Any) -> Result:
    folder.mkdir()
    return YondEngine().run([path], YondParams(quality="fast", **params), BenchJob(folder))


@pytest.mark.parametrize("kind", KINDS)
def test_every_output_of_every_kind(kind: str, tmp_path: Path) -> None:
    path, clean = _file(kind, tmp_path)
    before = path.read_bytes()
    forms = ("dng", "tiff", "jpeg") if kind == "four" else ("dng", "linear-dng", "tiff", "jpeg")
    result = _run(path, tmp_path / "work", output=forms, K=GAIN, sigma=GAIN)
    assert path.read_bytes() == before
    back = read_raw(result.outputs[0].path)
    assert back.facts.kind == kind
    assert back.mosaic.shape == clean.shape
    inside = np.s_[8:-8, 8:68]  # the left half is even
    noise = (read_raw(path).mosaic - clean.astype(np.float64))[inside]
    left = (back.mosaic / 4.0 - clean)[inside]
    assert left.std() < 0.3 * noise.std()
    assert left.mean() == pytest.approx(noise.mean(), abs=0.05 * noise.std())
    if kind != "four":
        kept = read_raw(result.outputs[1].path).facts.kind
        assert kept == ("mono" if kind == "mono" else "linear")
    for output in result.outputs[-3:-1]:
        with Image.open(output.path) as picture:
            assert picture.size == (SIZE[1], SIZE[0])
    names = {output.path for output in result.outputs}
    pair = result.comparisons[0]
    assert result.thumbnail is not None
    names |= {pair.before, pair.after, result.thumbnail, result.figures[0].path}
    assert set((tmp_path / "work").iterdir()) == names  # nothing is left between


@pytest.mark.parametrize("kind", KINDS)
def test_strength_nought_is_the_input(kind: str, tmp_path: Path) -> None:
    path, _ = _file(kind, tmp_path)
    result = _run(path, tmp_path / "work", strength=0.0)
    found = read_raw(result.outputs[0].path).mosaic
    assert np.array_equal(found, read_raw(path).mosaic * np.uint16(4))


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_was_removed_can_be_put_back(kind: str, tmp_path: Path) -> None:
    import torch

    facts = read_raw(_file(kind, tmp_path)[0]).facts
    shape = (*SIZE, 3) if kind == "linear" else SIZE
    noisy, clean = torch.rand(shape), torch.rand(shape)
    assert torch.equal(blended(noisy, clean, 0.0, 0.0, facts), clean)
    torch.testing.assert_close(blended(noisy, clean, 1.0, 1.0, facts), noisy)


def test_four_colours_have_no_linear_dng(tmp_path: Path) -> None:
    path, _ = _file("four", tmp_path)
    with pytest.raises(UserError, match="four colours, which no linear DNG of three holds"):
        _run(path, tmp_path / "work", output=("linear-dng",))


@pytest.mark.parametrize("kind", KINDS)
def test_brightening_takes_every_kind(kind: str, tmp_path: Path) -> None:
    path, _ = _file(kind, tmp_path, gain=0.5)
    (tmp_path / "work").mkdir()
    found = developed(path, "yond-snrnet-small", BenchJob(tmp_path / "work"))
    assert (found.facts.height, found.facts.width) == SIZE
    assert found.measurements["K"].value > 0.0
    forget()
    small = proxy(path).linear
    left = small[:, 4:-4, 4 : small.shape[2] // 2 - 6].mean(dim=(1, 2))
    assert left.tolist() == pytest.approx([GREY] * 3, rel=0.03)
    assert not list((tmp_path / "work").glob(".*"))


def test_what_knows_bayer_alone_says_so(tmp_path: Path) -> None:
    path, _ = _file("xtrans", tmp_path)
    job = BenchJob(tmp_path)
    with pytest.raises(UserError, match=r"raw\.simulate.* works on Bayer mosaics, and in\.dng"):
        SimulateEngine().run([path], SimulateParams(), job)
    with pytest.raises(UserError):
        CalibrateEngine().run([path], CalibrateParams(), job)
