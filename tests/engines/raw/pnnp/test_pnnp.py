"""PNNP: the distribution loss, and a proxy that learns laws which no formula of ELD's has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines.base import UserError
from engines.raw.noise.profile import CameraProfile, IsoNoise
from engines.raw.pnnp.arch import NoiseProxy
from engines.raw.pnnp.data import Learned, made, made_frame, of_darks, of_folder
from engines.raw.pnnp.judge import divergences
from engines.raw.pnnp.loss import distribution_loss
from engines.raw.pnnp.train import PnnpRecipe
from engines.training.loop import train
from tests.engines.raw.make_frames import truth, write_frame

GRID = torch.linspace(-4.2, 4.2, 401)


def test_the_loss_is_least_at_the_real_law_and_has_a_gradient() -> None:
    n = torch.special.ndtri((torch.arange(4096) + 0.5) / 4096)[None]
    jitter = torch.tensor([0.5, 0.5])
    heavy = (GRID + 0.03 * GRID**3)[None]
    same = distribution_loss(n + 0.03 * n**3, GRID, heavy, jitter)
    other = distribution_loss(n, GRID, heavy, jitter)
    assert float(same) < 0.01 < float(other)
    scale = torch.tensor(1.3, requires_grad=True)
    distribution_loss(n * scale, GRID, GRID[None], jitter).backward()
    assert scale.grad is not None
    assert float(scale.grad) > 0.0  # less is better


def test_a_fresh_proxy_is_gaussian_with_the_measured_deviation() -> None:
    network = NoiseProxy(2)
    network.octave.copy_(torch.tensor([0.0, 4.0]))
    network.log_sigma.copy_(torch.log(torch.tensor([2.0, 8.0])))
    n, value = network.table("pixel", 400.0)
    np.testing.assert_allclose(value, 4.0 * n, atol=1e-3)
    drawn = network.centred("pixel", torch.randn(2, 1000), network.octave)
    assert drawn.shape == (2, 1000)


def _strange(seed: int) -> Learned:
    """Dark frames with random telegraph noise: Gaussian, and a few pixels that jump to one side."""
    random = np.random.default_rng(seed)
    darks = {}
    for iso, sigma in ((800.0, 3.0), (6400.0, 12.0)):
        frames = []
        for number in range(4):
            signal = random.normal(0.0, sigma, (512, 768))
            jumps = random.random(signal.shape) < 0.02
            signal[jumps] += random.exponential(4.0 * sigma, int(jumps.sum()))
            signal += random.normal(0.0, 0.1 * sigma, (512, 1))
            frames.append(made_frame(f"{number}", signal.astype(np.float32), 512.0, 16383.0))
        darks[iso] = frames
    return of_darks("Acme", 14, 15871.0, darks)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_learned_noise_is_nearer_than_gaussian_and_eld(tmp_path: Path) -> None:
    recipe = PnnpRecipe()
    learned = _strange(1)
    recipe.prepare = lambda cache, data: recipe.use(learned)  # type: ignore[method-assign]
    report = train(recipe, folder=tmp_path, budget_minutes=0.7)
    assert report.figures["kl_pnnp"] < 0.25 * report.figures["kl_eld"]
    assert report.figures["kl_pnnp"] < 0.1 * report.figures["kl_gauss"]
    assert (tmp_path / "pnnp" / "validation.png").is_file()


def test_darks_of_a_known_model_are_taken_apart() -> None:
    noise = truth(3200)
    entry = IsoNoise(iso=3200, K=noise.K, sigma=noise.sigma, sigma_tl=noise.sigma_tl,
                     lam=noise.lam, sigma_row=noise.sigma_row, bias=noise.bias)  # fmt: skip
    profile = CameraProfile(model="Acme", bits=14, bl=512, wl=16383, iso=(entry,))
    [setting] = made(profile, seed=2).settings
    assert setting.dark.sigma == pytest.approx(noise.sigma, rel=0.01)
    assert setting.dark.shade.mean(axis=(1, 2)) == pytest.approx(noise.bias, abs=0.1)
    recipe = PnnpRecipe()
    recipe.use(made(profile, seed=2))
    network = recipe.network()
    assert isinstance(network, NoiseProxy)
    found = divergences(network, setting)
    assert found["eld"] < 0.001  # the model itself
    assert found["gauss"] > 10 * found["eld"]
    assert found["pnnp"] == pytest.approx(found["gauss"], rel=0.1)  # nothing is learned yet
    assert network.shade(3200.0).shape == (4, 16, 16)


def test_a_folder_of_darks_is_read_and_one_without_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "darks"
    folder.mkdir()
    for n in range(3):
        write_frame(folder / f"d{n}.dng", truth(3200), 3200, n)
    learned = of_folder(folder, tmp_path)
    assert [one.iso for one in learned.settings] == [3200]
    assert learned.settings[0].dark.frames == 3
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="no two dark frames"):
        of_folder(empty, tmp_path)
