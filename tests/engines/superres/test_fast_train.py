"""The recipe of the fidelity network."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engines.superres.degrade.operator import Bicubic
from engines.superres.metrics.fidelity import rounded
from engines.superres.train import FastRecipe
from engines.training.loop import train


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sharp pictures of edges in all directions."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(2):
        random = np.random.default_rng(number)
        picture = np.full((800, 900, 3), 128, np.uint8)
        for _ in range(400):
            ends = [tuple(int(v) for v in random.integers(0, 900, 2)) for _ in range(3)]
            colour = tuple(int(v) for v in random.integers(0, 256, 3))
            cv2.fillPoly(picture, [np.array(ends)], colour)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


def test_examples_are_the_small_version_of_the_large_and_repeat(tmp_path: Path, data: Path) -> None:
    recipe = FastRecipe("tiny", "Tiny", 2, "clean", size=(8, 1), batch=3)
    recipe.prepare(tmp_path / "cache", data)
    batch, again = next(recipe.batches(3)), next(recipe.batches(3))
    assert batch["high"].shape == (3, 3, 96, 96)
    assert torch.equal(batch["low"], rounded(Bicubic(2).measure(batch["high"])))
    assert torch.equal(batch["low"], again["low"])


def test_photographs_are_worn(tmp_path: Path, data: Path) -> None:
    recipe = FastRecipe("tiny", "Tiny", 4, "photo", size=(8, 1), batch=4)
    recipe.prepare(tmp_path / "cache", data)
    batch = next(recipe.batches(3))
    clean = Bicubic(4).measure(batch["high"])
    assert batch["low"].shape == clean.shape
    assert float((batch["low"] - clean).abs().mean()) > 0.01


def test_a_short_run_is_ahead_of_cubic_enlargement(tmp_path: Path, data: Path) -> None:
    recipe = FastRecipe("tiny", "Tiny", 2, "clean", size=(16, 3), batch=4)
    recipe.config = replace(recipe.config, steps=120, rate=1e-3, muon=0.02)
    report = train(recipe, folder=tmp_path, data=data)
    assert report.figures["gain_db"] > 0.25
    assert report.weights.is_file()
    assert (tmp_path / "tiny" / "validation.png").stat().st_size > 1000
