"""`raw.eld`: the published layout, tiles against the whole, amplification, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines import weights
from engines.base import Cancelled, Result, UserError
from engines.media.raw_file import read_raw
from engines.raw.eld.arch import SeeInDark
from engines.raw.eld.engine import EldEngine
from engines.raw.eld.params import EldParams
from engines.raw.eld.process import darkness, denoise
from engines.raw.eld.train import EldRecipe, copying
from engines.weights import LoadedModel
from studio.bench.job import BenchJob
from tests.engines.media.make_raw import write_dng
from tests.engines.raw.make_frames import truth, write_frame

LAYOUT = Path(__file__).parents[3] / "data" / "golden" / "eld-unet.layout.tsv"


def _copying(nf: int = 8) -> SeeInDark:
    network = SeeInDark(nf)
    network.initialise(torch.Generator().manual_seed(1))
    copying(network)
    return network.eval()


class _Job(BenchJob):
    def __init__(self, folder: Path, network: torch.nn.Module, stop_after: int = 10**9) -> None:
        super().__init__(folder)
        folder.mkdir()
        file = folder.parent / "any.pth"
        torch.save(network.state_dict(), file)
        self._model = weights.load(
            weights.convert(file, folder.parent / "any.safetensors"), self.device
        )
        self._left = stop_after

    def load(self, model_id: str) -> LoadedModel:
        return self._model

    def check_cancelled(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Cancelled


def _run(path: Path, job: _Job, **params: Any) -> Result:
    return EldEngine().run([path], EldParams(**{"weights": "any", **params}), job)


def test_names_shapes_and_order_are_the_published_ones() -> None:
    lines = [line.split("\t") for line in LAYOUT.read_text().splitlines() if line[0] != "#"]
    wanted = [(name, shape) for name, shape, _ in lines]
    state = SeeInDark().state_dict()
    assert [(name, "x".join(map(str, t.shape))) for name, t in state.items()] == wanted


def test_a_file_is_recognised_by_its_tensors(tmp_path: Path) -> None:
    for nf, state in ((32, "official"), (8, "yours")):
        file = tmp_path / f"{nf}.pth"
        torch.save(SeeInDark(nf).state_dict(), file)
        found = weights.convert(file, tmp_path / f"{nf}.safetensors")
        assert (found.network, found.state) == ("raw.eld/unet", state)


def test_it_starts_as_the_identity() -> None:
    x = torch.rand(1, 4, 32, 48) - 0.3
    with torch.no_grad():
        torch.testing.assert_close(_copying()(x), x, atol=1e-6, rtol=0)


def test_tiles_agree_with_the_whole() -> None:
    network = SeeInDark(4)
    network.initialise(torch.Generator().manual_seed(2))
    network.eval()
    planes = torch.rand(4, 300, 280)
    tiled = denoise(planes, 1.0, network, 128, lambda: None, pedestal=True)
    whole = denoise(planes, 1.0, network, 4096, lambda: None, pedestal=True)
    torch.testing.assert_close(tiled, whole, atol=1e-4, rtol=1e-3)


def test_it_is_amplified_and_what_lies_below_black_depends_on_the_network() -> None:
    planes = torch.full((4, 64, 64), 0.01)
    planes[:, :, :32] = -0.002
    kept = denoise(planes, 20.0, _copying(), 512, lambda: None, pedestal=True)
    torch.testing.assert_close(kept, planes * 20.0, atol=1e-5, rtol=0)
    cut = denoise(planes, 20.0, _copying(), 512, lambda: None, pedestal=False)
    assert float(cut[:, :, :32].abs().max()) < 1e-6
    bright = denoise(planes, 200.0, _copying(), 512, lambda: None, pedestal=True)
    assert float(bright.max()) <= 1.0 + 1e-6


def test_how_dark_a_picture_is_does_not_depend_on_its_noise() -> None:
    random = np.random.default_rng(1)
    clean = np.tile(np.linspace(0.0, 0.009, 320, dtype=np.float32), (4, 320, 1))
    noisy = clean + random.normal(0.0, 0.01, clean.shape).astype(np.float32)
    assert darkness(torch.from_numpy(clean)) == pytest.approx(100.0, rel=0.1)
    assert darkness(torch.from_numpy(noisy)) == pytest.approx(100.0, rel=0.25)
    assert darkness(torch.full((4, 64, 64), 0.8)) == pytest.approx(1.125)


def test_a_file_becomes_a_bright_one_of_the_same_camera(tmp_path: Path) -> None:
    steps = np.linspace(0.0, 100.0, 512)
    file = write_frame(tmp_path / "dark.dng", truth(3200), 3200, 1, clean=np.tile(steps, (384, 1)))
    result = _run(file, _Job(tmp_path / "job", _copying()), ratio=50, output=("dng", "jpeg"))
    assert [output.kind for output in result.outputs] == ["raw", "image", "document"]
    before, after = read_raw(file), read_raw(result.outputs[0].path)
    assert after.facts.cfa == before.facts.cfa
    assert after.mosaic.shape == before.mosaic.shape
    gain = after.facts.white / before.facts.white
    right = slice(400, 500)
    dark = before.mosaic[:, right].mean() - before.facts.black[0]
    light = after.mosaic[:, right].mean() / gain - before.facts.black[0]
    assert light == pytest.approx(50 * dark, rel=0.02)
    assert result.measurements["ratio"].value == 50
    assert result.comparisons[0].before.is_file()


def test_odd_sides_and_wrong_files(tmp_path: Path) -> None:
    job = _Job(tmp_path / "job", _copying(8))
    odd = write_dng(tmp_path / "odd.dng", np.full((67, 91), 600, np.uint16), cfa="GBRG")
    result = _run(odd, job)
    assert read_raw(result.outputs[0].path).mosaic.shape == (67, 91)
    text = tmp_path / "text.dng"
    text.write_text("no RAW")
    with pytest.raises(UserError, match=r"text\.dng"):
        _run(text, job)


def test_without_weights_it_says_what_is_needed(tmp_path: Path) -> None:
    file = write_dng(tmp_path / "a.dng", np.full((64, 64), 600, np.uint16))
    with pytest.raises(UserError, match=r"train eld-small --data PROFILE\.json"):
        _run(file, _Job(tmp_path / "job", _copying(8)), weights="")


def test_cancel_stops_between_tiles(tmp_path: Path) -> None:
    file = write_dng(tmp_path / "a.dng", np.full((600, 600), 600, np.uint16))
    with pytest.raises(Cancelled):
        _run(file, _Job(tmp_path / "job", _copying(8), stop_after=3), tile=128)


def test_the_recipe_draws_banded_pairs_that_agree_in_the_mean() -> None:
    recipe = EldRecipe(nf=8)
    clean = np.full((256, 256), 0.4, dtype=np.float32)
    noisy, target = recipe._example(clean, np.random.default_rng(3), 100.0)
    assert noisy.shape == target.shape == (4, 128, 128)
    assert float(target.mean()) == pytest.approx(0.4)
    assert float(noisy.mean()) == pytest.approx(0.4, abs=0.1)
    assert float(noisy.max()) <= 1.0
    network = recipe.network()
    loss = recipe.loss(network, {"noisy": noisy[None], "clean": target[None]})
    loss.backward()
    assert float(loss.detach()) > 0.0
