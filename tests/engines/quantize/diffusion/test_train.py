"""The recipe `ddpm-small`: what it is fed, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from engines.quantize.diffusion.folder import open_diffusion
from engines.quantize.diffusion.glyphs import Pictures
from engines.quantize.diffusion.load import load_diffusion
from engines.quantize.diffusion.train import DiffusionRecipe
from engines.training.loop import train


def test_pictures_are_drawn_the_same_for_the_same_seed(tmp_path: Path) -> None:
    one, other = (Pictures(tmp_path, None).draw(np.random.default_rng(seed), 3) for seed in (1, 1))
    assert torch.equal(one, other)
    assert one.shape == (3, 3, 32, 32)
    assert float(one.min()) >= -1
    assert float(one.max()) <= 1
    assert float(one.std()) > 0.2


def test_noise_is_mixed_as_its_time_says(tmp_path: Path) -> None:
    recipe = DiffusionRecipe((16, 16), batch=4)
    recipe.prepare(tmp_path, None)
    batch = next(recipe.batches(3))
    kept = recipe._kept[batch["t"]][:, None, None, None]
    picture = (batch["x"] - (1 - kept).sqrt() * batch["noise"]) / kept.sqrt()
    assert float(picture[kept.flatten() > 0.01].abs().max()) <= 1.001


def test_a_run_leaves_a_folder_of_diffusers(tmp_path: Path) -> None:
    recipe = DiffusionRecipe((16, 16), batch=2)
    report = train(recipe, folder=tmp_path, watch=lambda step, _: step >= 2)
    folder = report.weights.parents[1]
    assert open_diffusion(folder).pipeline == "DDPMPipeline"
    assert json.loads((folder / "studio.json").read_text())["steps"] == 2
    assert load_diffusion(folder).sample(1, steps=2).shape == (1, 3, 32, 32)
