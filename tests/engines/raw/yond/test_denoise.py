"""Blind denoising of planes with the weights that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engines import weights
from engines.base import Cancelled
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.denoise import denoise, keep_clipped, put_back
from engines.raw.yond.folded import Folded
from engines.raw.yond.params import YondParams
from kernels.bayer import pack
from studio.bench.job import BenchJob
from studio.bench.raw_scenes import SCALE, add_noise, clean_sheet

GAIN, SIGMA = 6.12, 7.116


class CountingJob(BenchJob):
    """Notes progress, and asks for a stop at the n-th question."""

    def __init__(self, stop_at: int = 10**9) -> None:
        self.reports: list[tuple[float, float, str]] = []
        self.asked = 0
        self._stop_at = stop_at

    def progress(self, done: float, total: float, text: str) -> None:
        self.reports.append((done, total, text))

    def check_cancelled(self) -> None:
        self.asked += 1
        if self.asked >= self._stop_at:
            raise Cancelled


@pytest.fixture(scope="module")
def network() -> GuidedResUnet:
    file = next(file for file in weights.bundled() if file.id == "yond-snrnet-small")
    loaded = weights.load(file, "cpu").network
    assert isinstance(loaded, GuidedResUnet)
    return loaded


@pytest.fixture(scope="module")
def clean() -> Tensor:
    return pack(torch.from_numpy(clean_sheet()), "RGGB")


@pytest.fixture(scope="module")
def noisy() -> Tensor:
    return pack(torch.from_numpy(add_noise(clean_sheet(), GAIN, SIGMA, seed=3)), "RGGB")


def _error(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean())


def _run(network: GuidedResUnet, planes: Tensor, **params: Any) -> Any:
    return denoise(planes, SCALE, network, YondParams(**params), CountingJob())


def test_blind_result_is_as_good_as_with_the_true_noise(
    network: GuidedResUnet, clean: Tensor, noisy: Tensor
) -> None:
    blind = _run(network, noisy)
    told = _run(network, noisy, K=GAIN, sigma=SIGMA)
    before = _error(noisy, clean)
    assert _error(told.planes, clean) < 0.9 * before
    assert _error(blind.planes, clean) < 1.02 * _error(told.planes, clean)
    assert (told.last.K, told.last.confidence, told.passes) == (GAIN, 1.0, 1)


def test_the_mean_of_every_plane_stays(network: GuidedResUnet, clean: Tensor) -> None:
    """That is what the correction of the bias is for, in the dark above all."""
    dark = clean_sheet() * np.float32(2.0**-5)
    planes = pack(torch.from_numpy(add_noise(dark, GAIN, SIGMA, seed=4)), "RGGB")
    truth = pack(torch.from_numpy(dark), "RGGB")
    found = _run(network, planes).planes
    for plane, true, given in zip(found, truth, planes, strict=True):
        assert float(plane.mean()) == pytest.approx(float(true.mean()), rel=0.003)
        assert float(plane.mean()) == pytest.approx(float(given.mean()), rel=0.001)


def test_strength_nought_changes_nothing(network: GuidedResUnet, noisy: Tensor) -> None:
    assert torch.equal(_run(network, noisy, strength=0.0).planes, noisy)


def test_strength_orders_the_results(network: GuidedResUnet, noisy: Tensor) -> None:
    removed = [
        _error(_run(network, noisy, strength=s, passes=1).planes, noisy) for s in (0.4, 1.0, 1.8)
    ]
    assert removed == sorted(removed)
    assert removed[2] > 1.1 * removed[0]


@pytest.mark.parametrize("passes", [1, 2])
def test_tiles_do_not_show(network: GuidedResUnet, noisy: Tensor, passes: int) -> None:
    whole = _run(network, noisy, passes=passes, tile=4096).planes
    tiled = _run(network, noisy, passes=passes, tile=128).planes
    # The second measurement sees other tiles, so one sigma of noise may move by a little.
    spread = (GAIN * 0.2 * SCALE + SIGMA**2) ** 0.5 / SCALE
    assert float((whole - tiled).abs().max()) < (0.001 if passes == 1 else 0.5) * spread


def test_the_same_input_gives_the_same_result(network: GuidedResUnet, noisy: Tensor) -> None:
    assert torch.equal(_run(network, noisy).planes, _run(network, noisy).planes)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 9), (40, 200)])
@pytest.mark.parametrize("level", [-0.03, 0.0, 0.5, 1.0])
def test_flat_and_tiny_pictures_stay_finite(
    network: GuidedResUnet, size: tuple[int, int], level: float
) -> None:
    planes = torch.full((4, *size), level)
    found = _run(network, planes).planes
    assert found.shape == planes.shape
    assert torch.isfinite(found).all()
    assert float((found - level).abs().max()) < 0.01


def test_one_hot_pixel_does_not_spread(network: GuidedResUnet) -> None:
    planes = torch.full((4, 64, 64), 0.1)
    planes[1, 30, 30] = 1.0
    found = _run(network, planes).planes
    found[:, 24:37, 24:37] = 0.1
    assert float((found - 0.1).abs().max()) < 0.002


def test_what_lies_below_black_is_kept_and_said(network: GuidedResUnet) -> None:
    generator = torch.Generator().manual_seed(2)
    planes = 0.1 + 0.002 * torch.randn(4, 96, 96, generator=generator)
    planes[:, :20] = -0.05
    found = _run(network, planes)
    assert torch.equal(found.planes[:, :19], planes[:, :19])
    assert any("below the black level" in note for note in found.notes)


def test_progress_rises_and_a_stop_is_heard_at_every_tile(
    network: GuidedResUnet, noisy: Tensor
) -> None:
    job = CountingJob()
    denoise(noisy, SCALE, network, YondParams(tile=128), job)
    done = [report[0] for report in job.reports]
    assert done == sorted(done)
    assert done[0] >= 0
    assert done[-1] <= 85
    assert job.asked == len(done) >= 12
    stopped = CountingJob(stop_at=3)
    with pytest.raises(Cancelled):
        denoise(noisy, SCALE, network, YondParams(tile=128), stopped)
    assert stopped.asked == 3


def test_put_back_splits_grain_from_colour() -> None:
    generator = torch.Generator().manual_seed(1)
    clean = torch.rand(4, 8, 8, generator=generator)
    noisy = clean + 0.1 * torch.randn(4, 8, 8, generator=generator)
    neutral = (0.5, 1.0, 0.7)
    assert torch.equal(put_back(noisy, clean, 0.0, 0.0, neutral), clean)
    torch.testing.assert_close(put_back(noisy, clean, 1.0, 1.0, neutral), noisy)
    grain = put_back(noisy, clean, 1.0, 0.0, neutral) - clean
    grey = torch.tensor([0.5, 1.0, 1.0, 0.7]).reshape(4, 1, 1)
    balanced = grain / grey
    torch.testing.assert_close(balanced, balanced[:1].expand(4, -1, -1))


def test_clipped_pixels_stay_clipped() -> None:
    noisy = torch.tensor([0.2, 0.99, 1.0, 0.97]).reshape(4, 1, 1)
    clean = torch.full((4, 1, 1), 0.5)
    assert keep_clipped(noisy, clean, 0.98).flatten().tolist() == pytest.approx(
        [0.5, 0.99, 1.0, 0.5]
    )


@pytest.mark.parametrize("name", ["yond-snrnet-small", "yond-snrnet"])
def test_what_ships_works_as_in_float64(name: str, noisy: Tensor) -> None:
    shipped = next(file for file in weights.bundled() if file.id == name)
    exact = weights.load(shipped, "cpu").network
    assert isinstance(exact, GuidedResUnet)
    x, t = (noisy[None, :, :64, :96].clamp(min=0.0)).sqrt(), torch.tensor([0.012])
    single = Folded(exact, t)(x)
    half = Folded(exact, t, dtype=torch.bfloat16)(x)
    wanted = exact.double()(x.double(), t.double())
    assert float((wanted - x).std() / t) > 0.3
    assert float((single - wanted).abs().max() / t) < 1e-3
    assert float((half - wanted).std() / t) < 0.03


def test_weights_ship_with_their_card() -> None:
    file = next(file for file in weights.bundled() if file.id == "yond-snrnet-small")
    assert file.state == "bundled"
    assert file.bytes < 10_000_000
    for said in ("data", "licence", "steps", "seconds", "figures", "recipe"):
        assert file.card[said]
    assert Path(file.path).with_suffix(".json").is_file()
    # Trained means better than doing nothing at every noise level.
    assert min(file.card["figures"].values()) > 0.5
