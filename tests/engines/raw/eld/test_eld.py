"""`raw.eld`: the published layout, tiles against the whole, amplification, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from engines.raw.eld.guided import WideUnet
from engines.raw.eld.params import EldParams
from engines.raw.eld.process import darkness, denoise
from engines.raw.eld.train import EldRecipe, copying
from engines.raw.eld.train_wide import WideRecipe, to_light
from engines.raw.noise.profile import CameraProfile, IsoNoise
from engines.raw.noise.sensor import NO_BIAS
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.grow import grow
from engines.raw.yond.pipeline import Noise, denoise_tiles, plan
from engines.raw.yond.train import READ_NOISES
from engines.weights import LoadedModel
from kernels.anscombe import bias_table
from studio.bench.job import BenchJob
from tests.engines.media.make_raw import write_dng
from tests.engines.raw.make_frames import BLACK, WHITE, truth, write_frame

LAYOUT = Path(__file__).parents[3] / "data" / "golden" / "eld-unet.layout.tsv"


def _copying(nf: int = 8) -> SeeInDark:
    network = SeeInDark(nf)
    network.initialise(torch.Generator().manual_seed(1))
    copying(network)
    return network.eval()


def _wide() -> WideUnet:
    """The network of ours with random weights that change little."""
    network = WideUnet(4, 3)
    network.initialise(torch.Generator().manual_seed(2))
    torch.nn.init.normal_(network.get_parameter("conv6.weight"), std=1e-3)
    return network.eval()


class _Job(BenchJob):
    def __init__(
        self,
        folder: Path,
        network: torch.nn.Module,
        stop_after: int = 10**9,
        profiles: tuple[CameraProfile, ...] = (),
    ) -> None:
        super().__init__(folder)
        self._profiles = profiles
        folder.mkdir()
        file = folder.parent / "any.pth"
        torch.save(network.state_dict(), file)
        self._model = weights.load(
            weights.convert(file, folder.parent / "any.safetensors"), self.device
        )
        self._left = stop_after

    def cameras(self) -> Sequence[tuple[str, Mapping[str, Any]]]:
        return [("mine", one.model_dump(mode="json")) for one in self._profiles]

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


def test_the_network_of_ours_begins_as_snr_net_and_is_recognised(tmp_path: Path) -> None:
    narrow = GuidedResUnet(4, 3, noise_units=True)
    narrow.initialise(torch.Generator().manual_seed(3))
    torch.nn.init.normal_(narrow.get_parameter("conv6.weight"), std=0.1)
    wide = WideUnet(4, 3)
    grow(wide, narrow.state_dict())
    x, t = torch.rand(2, 4, 32, 48), torch.tensor([0.02, 0.1])
    with torch.no_grad():
        torch.testing.assert_close(wide(x, t), narrow(x, t), atol=1e-5, rtol=0)
    file = tmp_path / "wide.pth"
    torch.save(wide.state_dict(), file)
    found = weights.convert(file, tmp_path / "wide.safetensors")
    assert (found.network, found.state) == ("raw.eld/unet", "yours")
    assert isinstance(weights.load(found, "cpu").network, WideUnet)


def test_tiles_of_the_network_of_ours_equal_the_whole() -> None:
    network = _wide()
    planes = torch.rand(4, 140, 90) * 0.1
    made: list[torch.Tensor] = []
    for side in (32, 512):
        out = torch.zeros_like(planes)
        tiles = plan(140, 90, side)
        for (top, left, bottom, right), part in denoise_tiles(
            planes, tiles, network, Noise(4.0, 10.0), 1000.0, 1.0, lambda: None, half=False
        ):
            out[:, top:bottom, left:right] = part
        made.append(out)
    torch.testing.assert_close(made[0], made[1], atol=1e-5, rtol=1e-4)


def test_camera_and_rows_are_known_and_the_light_comes_back(tmp_path: Path) -> None:
    noise = truth(3200)
    banded = replace(noise, sigma_row=0.5 * noise.deviation)
    steps = np.tile(np.linspace(20.0, 120.0, 512), (384, 1))
    file = write_frame(tmp_path / "dark.dng", banded, 3200, 1, clean=steps)
    entry = IsoNoise(iso=3200, K=noise.K, sigma=noise.sigma, sigma_tl=noise.sigma_tl,
                     lam=noise.lam, sigma_row=banded.sigma_row, bias=noise.bias)  # fmt: skip
    mine = CameraProfile(model="Acme One", bits=14, bl=BLACK, wl=WHITE, iso=(entry,))
    job = _Job(tmp_path / "job", _wide(), profiles=(mine,))
    result = _run(file, job, ratio=100)
    assert any("camera profile mine" in note for note in result.notes)
    assert any("Row noise" in note for note in result.notes)
    before, after = read_raw(file), read_raw(result.outputs[0].path)
    gain = after.facts.white / before.facts.white
    light = (after.mosaic[:, 200:300] / gain - before.facts.black[0]).mean()
    assert light == pytest.approx(100 * steps[0, 200:300].mean(), rel=0.03)
    # The network here changes nothing, so all that is gone from the rows' means was row noise.
    rows = [picture.mosaic[::2, 200:300].mean(axis=1).std() for picture in (before, after)]
    assert rows[1] / (100 * gain) < 0.75 * rows[0]


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


def test_what_the_network_of_ours_learns_from_is_the_light_in_the_mean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engines.raw.eld.train_wide.bundled_weights", lambda name: None)
    recipe = WideRecipe(nf=4)
    recipe._tables = [bias_table(1.0, float(ratio)) for ratio in READ_NOISES]
    random = np.random.default_rng(3)
    sensor, span = recipe._sensor(random)
    assert sensor.bias == NO_BIAS
    one = recipe.example(torch.full((4, 96, 96), 0.4), 60.0, sensor, span, random)
    batch = {name: part[None] for name, part in one.items()}
    light = to_light(batch["noisy"], batch["back"])
    # z² / 4 lies above the light by a quarter of the variance of z, which is one.
    assert float(light.mean() - 0.25 * batch["back"][0, 2]) == pytest.approx(0.4, rel=0.05)
    loss = recipe.loss(recipe.network(), batch)
    loss.backward()
    assert bool(torch.isfinite(loss.detach()))
