"""`raw.yond` from a file to its outputs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy
from PIL import Image
from pydantic import ValidationError

from engines.base import Result, UserError
from engines.media.provenance import from_file
from engines.raw.yond.engine import YondEngine
from engines.raw.yond.params import YondParams
from studio.bench.job import BenchJob
from tests.engines.media.make_raw import flat_patches, write_dng

RAW = Path(__file__).parents[3] / "data" / "raw"
PROMISED = ("K", "sigma", "confidence", "passes", "megapixels_per_second")


class FolderJob(BenchJob):
    """A job with a workspace."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.workspace.mkdir()


def _run(path: Path, folder: Path, **params: Any) -> Result:
    return YondEngine().run([path], YondParams(**params), FolderJob(folder))


def _mosaic(path: Path) -> np.ndarray[Any, Any]:
    with rawpy.imread(str(path)) as raw:
        return np.array(raw.raw_image_visible)


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.parametrize("name", ["colorchart.dng", "CRW_0304.CRW", "P003908.KDC"])
def test_real_files(name: str, tmp_path: Path) -> None:
    source = RAW / name
    before = hashlib.sha256(source.read_bytes()).hexdigest()
    result = _run(source, tmp_path, output=("dng", "linear-dng", "tiff", "jpeg"))
    assert hashlib.sha256(source.read_bytes()).hexdigest() == before
    assert [output.primary for output in result.outputs] == [True, False, False, False, False]
    suffixes = [output.path.suffix for output in result.outputs]
    assert suffixes == [".dng", ".dng", ".tif", ".jpg", ".json"]
    assert set(PROMISED) <= set(result.measurements)
    assert all(np.isfinite(m.value) for m in result.measurements.values())
    told = from_file(result.outputs[0].path)
    assert told is not None
    assert told["input_sha256"] == before
    assert told["params"]["strength"] == 1.0
    for output in result.outputs[1:]:
        assert from_file(output.path) == told
    assert str(source.parent) not in json.dumps(told)
    [pair] = result.comparisons
    assert _size(pair.before) == _size(pair.after)
    assert result.thumbnail is not None
    assert max(_size(result.thumbnail)) <= 320
    assert [figure.chart for figure in result.figures] == [True]
    declared = {output.path for output in result.outputs} | {pair.before, pair.after}
    declared |= {result.thumbnail, result.figures[0].path}
    assert set((tmp_path / "workspace").iterdir()) == declared


def test_noise_falls_and_colour_stays(tmp_path: Path) -> None:
    source = RAW / "colorchart.dng"
    result = _run(source, tmp_path)
    assert result.measurements["K"].value == pytest.approx(1.9, rel=0.15)
    assert result.measurements["sigma"].value == pytest.approx(11.0, rel=0.15)
    assert result.measurements["confidence"].value > 0.9
    before = _mosaic(source).astype(np.float64)
    after = _mosaic(result.outputs[0].path).astype(np.float64)
    gain = round(after.max() / before.max())
    after /= gain
    for y in (0, 1):
        for x in (0, 1):
            noisy, clean = before[y::2, x::2], after[y::2, x::2]
            assert clean.mean() == pytest.approx(noisy.mean(), rel=0.002)
            # The grey frame of the chart, out of focus: nothing there but noise.
            patch = np.s_[200:224, 330:354]
            assert np.diff(clean[patch]).std() < 0.4 * np.diff(noisy[patch]).std()


def test_strength_nought_is_the_input(tmp_path: Path) -> None:
    source = RAW / "colorchart.dng"
    result = _run(source, tmp_path, strength=0.0)
    before, after = _mosaic(source), _mosaic(result.outputs[0].path)
    gain = round(float(after.max()) / float(before.max()))
    assert np.array_equal(before * gain, after)


@pytest.mark.parametrize("cfa", ["RGGB", "GRBG", "GBRG", "BGGR"])
def test_every_cfa_order_and_odd_sides(cfa: str, tmp_path: Path) -> None:
    mosaic = flat_patches(131, 203)
    source = write_dng(tmp_path / "a.dng", mosaic, cfa=cfa)
    result = _run(source, tmp_path)
    after = _mosaic(result.outputs[0].path).astype(np.float64)
    assert after.shape == mosaic.shape
    gain = round(float(after.mean()) / float(mosaic.mean()))
    assert after.mean() / gain == pytest.approx(mosaic.mean(), rel=1e-3)
    assert np.diff(after[20:110, 5:22:2], axis=1).std() / gain < 2.0 < 4.0


@pytest.mark.parametrize("level", [0, 512, 16383])
def test_flat_files(level: int, tmp_path: Path) -> None:
    source = write_dng(tmp_path / "a.dng", np.full((64, 70), level, dtype=np.uint16))
    result = _run(source, tmp_path, output=("dng", "tiff", "jpeg"))
    after = _mosaic(result.outputs[0].path).astype(np.float64)
    gain = 65535 // 16383
    assert np.abs(after / gain - level).max() <= 2.0
    assert result.measurements["confidence"].value == 0.0
    assert any("too little in the picture" in note for note in result.notes)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 40)])
def test_a_picture_that_no_converter_reads_is_refused(
    size: tuple[int, int], tmp_path: Path
) -> None:
    source = write_dng(tmp_path / "a.dng", np.full(size, 700, dtype=np.uint16))
    with pytest.raises(UserError, match="at least 22 x 22"):
        _run(source, tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("empty.NEF", b"", "is empty"),
        ("text.NEF", b"hello, this is a text\n" * 50, "not a camera RAW"),
        ("picture.CR2", b"\xff\xd8\xff\xe0" + b"0" * 200, "a JPEG picture"),
    ],
)
def test_what_is_no_raw_gets_a_sentence(name: str, data: bytes, says: str, tmp_path: Path) -> None:
    source = tmp_path / name
    source.write_bytes(data)
    with pytest.raises(UserError, match=says) as told:
        _run(source, tmp_path)
    assert name in str(told.value)
    assert not list((tmp_path / "workspace").iterdir())


@pytest.mark.parametrize("name", ["colorchart.dng", "CRW_0304.CRW", "P003908.KDC"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_get_a_sentence(name: str, share: float, tmp_path: Path) -> None:
    data = (RAW / name).read_bytes()
    source = tmp_path / name
    source.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError) as told:
        _run(source, tmp_path)
    assert "\n" not in str(told.value)
    assert not list((tmp_path / "workspace").iterdir())


def test_gain_and_sigma_come_together() -> None:
    with pytest.raises(ValidationError, match="Give K and sigma together"):
        YondParams(K=2.0)
    with pytest.raises(ValidationError, match="Give K and sigma together"):
        YondParams(sigma=2.0)


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    source = write_dng(tmp_path / "a.dng", flat_patches(128, 160))
    found: list[list[bytes]] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        result = _run(source, tmp_path / name, output=("dng", "tiff", "jpeg"))
        found.append([output.path.read_bytes() for output in result.outputs])
    assert found[0] == found[1]
