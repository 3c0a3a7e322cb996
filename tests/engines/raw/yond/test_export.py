"""What `raw.yond` writes: whole files, the wanted forms, the same bytes for the same input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy
import torch
from PIL import Image

from engines import weights
from engines.base import Cancelled, Measurement, Result
from engines.media.provenance import from_file
from engines.media.raw_file import read_raw
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.export import Export, export
from engines.raw.yond.params import YondParams
from engines.weights import LoadedModel
from tests.engines.media import make_raw

DATA = Path(__file__).parents[3] / "data" / "raw"
ALL = ("dng", "linear-dng", "tiff", "jpeg")


class _Job:
    """A job in a folder; `stop_after` cancels at that check."""

    device = "cpu"

    def __init__(self, workspace: Path, stop_after: int = 1000) -> None:
        self.workspace = workspace
        self.reported: list[float] = []
        self._left = stop_after
        workspace.mkdir()

    def progress(self, done: float, total: float, text: str) -> None:
        self.reported.append(done / total)

    def check_cancelled(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Cancelled

    def resumable(self, key: str) -> Path:
        return self.workspace

    def log(self, text: str) -> None: ...

    def load(self, model_id: str) -> Any: ...


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("weights")
    torch.save(GuidedResUnet(nf=4, levels=2).state_dict(), folder / "any.pth")
    return weights.load(weights.convert(folder / "any.pth", folder / "tiny.safetensors"), "cpu")


def _export(source: Path, model: LoadedModel) -> Export:
    """The source's mosaic, every other column half a step darker, as if it were denoised."""
    raw = read_raw(source)
    levels = raw.mosaic.astype(np.float32)
    levels[:, ::2] -= 0.5
    measurements = {
        "K": Measurement(1.7711111111, "DN/e-"),
        "megapixels_per_second": Measurement(float(np.random.default_rng().random()), "MP/s"),
    }
    return Export(raw, source, levels, model, "raw.yond", "1", measurements, 0.96, (1e-5, 2e-8))


@pytest.fixture
def run(tmp_path: Path, model: LoadedModel) -> Callable[..., Result]:
    def run(source: Path, folder: str = "out", **params: Any) -> Result:
        job = _Job(tmp_path / folder)
        result = export(_export(source, model), YondParams(**params), job, (), ("a note",))
        assert job.reported == sorted(job.reported)
        assert job.reported[-1] == 1.0
        assert 0.85 <= job.reported[0]
        return result

    return run


def test_everything_at_once(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run(DATA / "colorchart.dng", output=ALL)
    assert [output.path.name for output in result.outputs] == [
        "colorchart.dng", "colorchart-linear.dng", "colorchart.tif", "colorchart.jpg",
        "colorchart.json",
    ]  # fmt: skip
    assert [output.primary for output in result.outputs] == [True, False, False, False, False]
    assert [output.kind for output in result.outputs] == [
        "raw", "raw", "image", "image", "document",
    ]  # fmt: skip
    (comparison,) = result.comparisons
    assert result.thumbnail is not None
    named = {output.path for output in result.outputs}
    named |= {comparison.before, comparison.after, result.thumbnail}
    assert set((tmp_path / "out").iterdir()) == named
    told = [from_file(output.path) for output in result.outputs]
    assert all(one == told[0] for one in told)
    assert told[0] is not None
    assert told[0]["params"]["output"] == list(ALL)
    assert told[0]["measurements"] == {"K": {"unit": "DN/e-", "value": 1.771111}}
    assert told[0]["input_sha256"] == weights.sha256_of(DATA / "colorchart.dng")
    assert list(result.models.values()) == list(told[0]["weights"].values())
    assert result.notes == ("a note",)
    assert result.measurements["exposure"].unit == "EV"
    sizes = []
    for path in (comparison.before, comparison.after, result.outputs[3].path):
        with Image.open(path) as picture:
            sizes.append(picture.size)
    assert sizes == [(1734, 1156)] * 3
    with Image.open(result.thumbnail) as picture:
        assert picture.size == (320, 213)


@pytest.mark.parametrize("form", ALL)
def test_one_form_alone(form: str, run: Callable[..., Result], tmp_path: Path) -> None:
    source = make_raw.write_dng(tmp_path / "in.dng", make_raw.flat_patches(66, 96))
    result = run(source, output=(form,))
    ending = {"dng": ".dng", "linear-dng": "-linear.dng", "tiff": ".tif", "jpeg": ".jpg"}[form]
    assert [output.path.name for output in result.outputs] == [f"in{ending}", "in.json"]
    assert result.outputs[0].primary
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {
        f"in{ending}", "in.json", "in.before.jpg", "in.after.jpg", "in.thumbnail.jpg",
    }  # fmt: skip


def test_the_mosaic_has_fractions_of_a_step(run: Callable[..., Result]) -> None:
    result = run(DATA / "colorchart.dng")
    raw = read_raw(DATA / "colorchart.dng")
    back = read_raw(result.outputs[0].path)
    wanted = raw.mosaic.astype(np.int64) * 4
    wanted[:, ::2] -= 2
    different = back.mosaic != wanted
    assert different.sum() <= 1  # the brightest pixel keeps its value
    assert (back.facts.black, back.facts.white) == ((8224.0,) * 4, 60000.0)


def test_libraw_scales_result_and_input_alike(run: Callable[..., Result], tmp_path: Path) -> None:
    """By default it makes the brightest pixel white, and denoising would lower that."""
    mosaic = make_raw.flat_patches(66, 96)
    mosaic[30, 40] = 14000
    source = make_raw.write_dng(tmp_path / "in.dng", mosaic)
    result = run(source)
    means = []
    for path in (source, result.outputs[0].path):
        with rawpy.imread(str(path)) as raw:
            shown = raw.postprocess(use_camera_wb=True, no_auto_bright=True, output_bps=16)
        means.append(shown.mean(axis=(0, 1)))
    assert means[1] == pytest.approx(means[0], rel=0.002)


def test_a_hot_pixel_stays_removed(model: LoadedModel, tmp_path: Path) -> None:
    mosaic = make_raw.flat_patches(66, 96)
    mosaic[30, 4] = 16000
    source = make_raw.write_dng(tmp_path / "in.dng", mosaic)
    what = _export(source, model)
    what.levels[30, 4] = 900.0  # the denoiser took it out
    result = export(what, YondParams(), _Job(tmp_path / "out"), (), ())
    assert read_raw(result.outputs[0].path).mosaic[30, 4] == 3600


def test_levels_stay_between_nought_and_white(model: LoadedModel, tmp_path: Path) -> None:
    source = make_raw.write_dng(tmp_path / "in.dng", make_raw.flat_patches(66, 96))
    what = _export(source, model)
    what.levels[0, :3] = (-50.0, 20_000.0, 100.3)
    result = export(what, YondParams(), _Job(tmp_path / "out"), (), ())
    assert read_raw(result.outputs[0].path).mosaic[0, :3].tolist() == [0, 16383 * 4, 401]


def test_the_same_input_gives_the_same_bytes(run: Callable[..., Result], tmp_path: Path) -> None:
    source = make_raw.write_dng(tmp_path / "in.dng", make_raw.flat_patches(66, 96))
    run(source, "one", output=ALL)
    run(source, "two", output=ALL)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(names) == 8
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pictures_stand_upright(
    orientation: int, run: Callable[..., Result], tmp_path: Path
) -> None:
    mosaic = make_raw.flat_patches(66, 96)
    source = make_raw.write_dng(tmp_path / "in.dng", mosaic, orientation=orientation)
    result = run(source, output=("tiff", "jpeg"))
    wanted = (66, 96) if orientation in (6, 8) else (96, 66)
    assert result.thumbnail is not None
    comparison = result.comparisons[0]
    pictures = [output.path for output in result.outputs[1:2]]
    for path in (*pictures, comparison.before, comparison.after, result.thumbnail):
        with Image.open(path) as picture:
            assert picture.size == wanted
            assert picture.getexif().get(274, 1) == 1


def test_exposure_by_hand(run: Callable[..., Result], tmp_path: Path) -> None:
    mosaic = make_raw.flat_patches(66, 96)
    source = make_raw.write_dng(tmp_path / "in.dng", mosaic, wb=(1, 1, 1))
    means = []
    for stops in (-1.0, 1.0):
        result = run(source, f"{stops}", exposure=stops, output=("jpeg",))
        assert result.measurements["exposure"].value == stops
        for path in (result.comparisons[0].after, result.outputs[0].path):
            with Image.open(path) as picture:
                means.append(np.asarray(picture).mean())
    assert means[0] == pytest.approx(means[1], abs=2.0)
    assert means[2] == pytest.approx(means[3], abs=6.0)  # the preview rolls highlights off
    assert means[2] > 1.4 * means[0]


@pytest.mark.parametrize("stem", ["before", "after", "thumbnail", "noise", "\u00e4\u732b photo"])
def test_names_do_not_get_in_one_anothers_way(
    stem: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    source = make_raw.write_dng(tmp_path / f"{stem}.dng", make_raw.flat_patches(66, 96))
    result = run(source, output=ALL)
    assert len(list((tmp_path / "out").iterdir())) == 8
    assert result.outputs[3].path.name == f"{stem}.jpg"
    assert from_file(result.outputs[3].path) is not None


def test_a_long_name_is_cut(run: Callable[..., Result], tmp_path: Path) -> None:
    name = "\u00e4" * 125 + ".dng"
    source = make_raw.write_dng(tmp_path / name, make_raw.flat_patches(66, 96))
    result = run(source, output=ALL)
    assert result.outputs[1].path.name == "\u00e4" * 100 + "-linear.dng"


@pytest.mark.parametrize("checks", range(8))
def test_cancelled_at_any_step(checks: int, model: LoadedModel, tmp_path: Path) -> None:
    source = make_raw.write_dng(tmp_path / "in.dng", make_raw.flat_patches(66, 96))
    before = source.read_bytes()
    with pytest.raises(Cancelled):
        export(
            _export(source, model), YondParams(output=ALL), _Job(tmp_path / "out", checks), (), ()
        )
    assert source.read_bytes() == before


def test_the_sidecar_is_the_provenance(run: Callable[..., Result], tmp_path: Path) -> None:
    source = make_raw.write_dng(tmp_path / "in.dng", make_raw.flat_patches(66, 96))
    result = run(source, strength=0.5, detail=0.25)
    told = json.loads(result.outputs[-1].path.read_text())
    assert told["params"]["strength"] == 0.5
    assert told["params"]["detail"] == 0.25
    assert str(tmp_path) not in json.dumps(told)
