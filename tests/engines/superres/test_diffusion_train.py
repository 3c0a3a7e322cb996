"""The recipes of the diffusions."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss

from engines.base import UserError
from engines.superres.ediffsr.train import EdiffsrRecipe
from engines.superres.fast import FastNet
from engines.superres.reddiff.settings import PriorSettings
from engines.superres.reddiff.train import PriorRecipe, prior
from engines.superres.reddiff.unet import AdmUnet
from engines.superres.upsr.train import UpsrRecipe, regressor, sharpness_loss
from engines.training.loop import Recipe, train
from engines.weights import load, read_model, save_safetensors

MEASURES = {"reddiff": {"psnr", "noise"}}
FAST = {"scale": 4, "channels": 8, "blocks": 1}
RECIPES: dict[str, tuple[type[Recipe], dict[str, Any], str]] = {
    "upsr": (
        UpsrRecipe,
        {
            "image_size": 32, "model_channels": 32, "channel_mult": [1], "num_res_blocks": 1,
            "swin_embed_dim": 32, "num_head_channels": 16, "num_feat": 4, "anchored": True,
        },
        "regressor",
    ),
    "ediffsr": (
        EdiffsrRecipe,
        {
            "width": 16, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1],
            "anchored": True,
        },
        "mean",
    ),
    "reddiff": (
        PriorRecipe,
        PriorSettings(
            channels=16, mult=(1, 1), blocks=1, attention=(False, False), groups=8, size=32,
            head_channels=16, updown=False,
        ).model_dump(mode="json"),
        "",
    ),
}  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs with a trained estimator, and none that ships."""
    monkeypatch.setattr("engines.superres.upsr.train.BUNDLED", tmp_path / "none")
    torch.manual_seed(0)
    (tmp_path / "fast-x4").mkdir()
    save_safetensors(
        tmp_path / "fast-x4" / "fast-x4.safetensors",
        {key: value.half() for key, value in FastNet(**FAST).state_dict().items()},
        {"network": "superres.upsr/fast", "config": FAST, "title": "tiny"},
    )
    return tmp_path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(2):
        random = np.random.default_rng(number)
        coarse = random.integers(0, 256, (90, 90, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (800, 800), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


def recipe(name: str, **schedule: Any) -> Recipe:
    kind, settings, _ = RECIPES[name]
    told: Any = PriorSettings.model_validate(settings) if name == "reddiff" else settings
    made = kind(f"tiny-{name}", "Tiny", told, batch=2, held=1)  # type: ignore[call-arg]
    made.config = replace(made.config, **schedule)
    return made


@pytest.mark.parametrize("name", RECIPES)
def test_a_short_run_gives_a_file_that_the_engine_loads(name: str, runs: Path, data: Path) -> None:
    _, settings, names = RECIPES[name]
    report = train(recipe(name, steps=2), folder=runs, data=data)
    assert all(math.isfinite(value) for value in report.figures.values())
    assert {key.split("_")[0] for key in report.figures} == MEASURES.get(name, {"psnr", "slope"})
    file = read_model(report.weights, "tiny", "bundled")
    assert not names or file.card[names] == "fast-x4"
    assert file.config == json.loads(json.dumps(settings))
    network = load(file, "cpu").network
    assert all(bool(torch.isfinite(value).all()) for value in network.state_dict().values())
    assert (runs / f"tiny-{name}" / "validation.png").stat().st_size > 1000


@pytest.mark.parametrize("name", RECIPES)
def test_examples_repeat_and_can_be_learned(name: str, runs: Path, data: Path) -> None:
    made = recipe(name)
    made.prepare(runs / "cache", data)
    batch, again = next(made.batches(3)), next(made.batches(3))
    assert all(torch.equal(value, again[key]) for key, value in batch.items())
    network = made.network()
    optimiser = torch.optim.Adam(network.parameters(), 4e-3)
    losses: list[float] = []
    for _ in range(14):
        loss = made.loss(network, batch)
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.95 * losses[0]


def test_the_estimator_comes_first(runs: Path, tmp_path: Path) -> None:
    network, file = regressor(runs)
    assert (network.scale, file.id) == (4, "fast-x4")
    assert next(network.parameters()).dtype == torch.float32
    with pytest.raises(UserError, match="run `train fast-x4-photo`"):
        regressor(tmp_path / "none")


def test_soft_and_noisy_pictures_cost_more_than_their_squared_error() -> None:
    torch.manual_seed(1)
    truth = torch.rand(1, 3, 32, 32) * 2 - 1
    assert float(sharpness_loss(truth, truth)) == 0.0
    soft = torch.nn.functional.avg_pool2d(truth, 3, 1, 1)
    noisy = truth + (soft - truth).square().mean().sqrt() * torch.randn_like(truth)
    shifted = truth + (soft - truth).square().mean().sqrt()
    extra = [float(sharpness_loss(x, truth) - mse_loss(x, truth)) for x in (soft, noisy, shifted)]
    assert min(extra[:2]) > 0.01
    assert extra[2] < 0.5 * min(extra[:2])  # a tint has neither edges nor a spectrum of its own


def test_the_shipped_prior_is_what_the_recipe_makes() -> None:
    made = prior()
    network = made.network()
    assert isinstance(network, AdmUnet)
    assert sum(value.numel() for value in network.parameters()) == 1_192_387
    settings = network.settings
    assert (settings.out, settings.size, settings.schedule.steps) == (3, 64, 1000)
    assert (settings.attention[-1], settings.size // settings.multiple) == (True, 16)
    noisy = made.loss(network, {
        "clean": torch.zeros(4, 3, 32, 32), "noise": torch.randn(4, 3, 32, 32),
        "time": torch.tensor([0, 10, 500, 999]),
    })  # fmt: skip
    assert float(noisy.detach()) == pytest.approx(1.0, abs=0.05)  # it begins by giving nothing
