"""What NegVSR is trained with: noise, negatives, filmed photos; and its recipe."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from engines.base import UserError
from engines.superres.metrics.temporal import unsteadiness
from engines.superres.negvsr.clips import Picture, filmed, tensor
from engines.superres.negvsr.negatives import draw_turns, mixed_with, turned
from engines.superres.negvsr.noise import collect, library
from engines.superres.negvsr.train import NegvsrRecipe
from engines.training.loop import train
from engines.weights import load, read_model
from tests.engines.media.make_film import film
from tests.engines.superres.test_negvsr import SMALL


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two photos whose upper half is sharp and whose lower half is flat."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(2):
        random = np.random.default_rng(number)
        coarse = random.integers(0, 256, (90, 90, 3), dtype=np.uint8)
        coarse[45:] = 110
        picture = cv2.resize(coarse, (800, 800), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


def recipe(**schedule: Any) -> NegvsrRecipe:
    made = NegvsrRecipe("tiny-negvsr", "Tiny", dict(SMALL), low=16, frames=3)
    made.held, made.held_low = 1, 32
    made.config = replace(made.config, **schedule)
    return made


# --- noise and negatives -----------------------------------------------------------------------


def test_flat_and_steady_windows_are_collected() -> None:
    random = np.random.default_rng(0)
    frames = np.full((5, 128, 256, 3), 100.0)
    frames[:, :64, :64] += random.normal(0, 4, (5, 64, 64, 1))  # noise: kept
    frames[:, :64, 64:128] += random.normal(0, 12, (5, 64, 64, 1))  # too strong
    frames[:, :64, 128:192] += np.arange(5)[:, None, None, None] * 12.0  # grows bright
    frames[:, :64, 192:] = 0.0  # black
    frames[2, 64:, :64] += random.normal(0, 9, (64, 64, 1))  # one frame is too noisy
    wanted = frames.clip(0, 255).round().astype(np.uint8)
    found = collect(list(wanted))
    places = [(0, 0), (64, 64), (64, 128), (64, 192)]
    assert len(found) == len(places)
    for one, (top, left) in zip(found, places, strict=True):
        assert np.array_equal(one, wanted[:, top : top + 64, left : left + 64])


def test_noise_comes_from_the_persons_films_where_there_are_any(tmp_path: Path, data: Path) -> None:
    random = np.random.default_rng(3)
    noisy = (100 + random.normal(0, 3, (9, 128, 128, 1))).repeat(3, 3)
    noisy = noisy.clip(0, 255).astype(np.uint8)
    film(data / "night.mp4", noisy, options={"crf": "4"})
    cache = tmp_path / "cache"
    cache.mkdir()
    found = library(cache, data, [], 3)
    assert found.shape == (12, 3, 64, 64, 3)  # four windows of each of three groups of frames
    assert 1.0 < float(np.asarray(found[0, 0]).std()) < 6.0
    assert [path.suffix for path in cache.iterdir()] == [".npy"]
    loud = tmp_path / "loud"
    loud.mkdir()
    film(loud / "loud.mp4", random.integers(0, 255, (3, 64, 64, 3), dtype=np.uint8))
    with pytest.raises(UserError, match="flat, steady place"):
        library(cache, loud, [], 3)


def test_patches_are_turned_each_for_itself() -> None:
    frames = torch.arange(2 * 3 * 32 * 32, dtype=torch.float32).reshape(1, 2, 3, 32, 32)
    turns = torch.zeros(1, 2, 16, 16, dtype=torch.long)
    turns[0, 1, 0, 2], turns[0, 1, 15, 15] = 1, 2
    found = turned(frames, turns)
    assert torch.equal(found[0, 0], frames[0, 0])
    patch, last = frames[0, 1, :, 0:2, 4:6], frames[0, 1, :, 30:, 30:]
    assert torch.equal(found[0, 1, :, 0:2, 4:6], torch.rot90(patch, 1, (1, 2)))
    assert torch.equal(found[0, 1, :, 30:, 30:], torch.rot90(last, 2, (1, 2)))
    same = (found == frames)[0, 1].all(0)
    assert int((~same).sum()) == 8


def test_turns_are_as_many_as_they_should_be() -> None:
    random = np.random.default_rng(0)
    assert int(draw_turns(random, 1, 4, 0.0).sum()) == 0
    turns = draw_turns(random, 2, 20, 0.5)
    assert turns.shape == (2, 20, 16, 16)
    # Of five draws 0 and 4 leave a patch as it is, and half of the patches are not drawn for.
    assert float((turns > 0).float().mean()) == pytest.approx(0.5 * 3 / 5, abs=0.02)
    mixture = mixed_with(torch.zeros(1, 1, 3, 2, 2), torch.ones(1, 1, 3, 2, 2))
    assert float(mixture.mean()) == 0.5


# --- clips -------------------------------------------------------------------------------------


def blurred(random: np.random.Generator, side: int, sigma: float) -> Picture:
    """Noise of large structures, over the whole range."""
    smooth = cv2.GaussianBlur(random.random((side, side, 3), dtype=np.float32), (0, 0), sigma)
    return np.asarray(((smooth - 0.5) * 5 + 0.5).clip(0, 1), np.float32)


def test_a_camera_moves_over_a_photo_and_comes_back_the_same() -> None:
    random = np.random.default_rng(2)
    picture = blurred(random, 96, 2.0)
    steps: list[float] = []
    for seed in range(6):
        clip = filmed(picture, None, 5, 64, np.random.default_rng(seed))
        again = filmed(picture, None, 5, 64, np.random.default_rng(seed))
        assert [one.shape for one in clip] == [(64, 64, 3)] * 5
        assert all(np.array_equal(a, b) for a, b in zip(clip, again, strict=True))
        steps.append(float(np.abs(clip[0] - clip[4]).mean()))
    assert max(steps) > 0.05
    near = filmed(picture, np.ones_like(picture), 3, 64, np.random.default_rng(0))
    covered = np.mean([float((one.min(2) > 0.999).mean()) for one in near])
    assert 0.02 < covered < 0.7


def test_noise_makes_a_film_unsteady_and_movement_does_not() -> None:
    random = np.random.default_rng(2)
    truth = tensor(filmed(blurred(random, 144, 3.0), None, 4, 96, random))
    noise = 0.05 * torch.from_numpy(random.standard_normal(truth.shape, dtype=np.float32))
    still = unsteadiness(truth, truth, 8)
    assert still < 2.5
    assert unsteadiness(truth + noise, truth, 8) > still + 5.0


# --- the recipe --------------------------------------------------------------------------------


def test_a_short_run_gives_a_file_that_the_engine_loads(tmp_path: Path, data: Path) -> None:
    report = train(recipe(steps=2), folder=tmp_path, data=data)
    assert all(math.isfinite(value) for value in report.figures.values())
    names = {f"{what}_{who}" for what in ("psnr_y", "unsteady") for who in ("ours", "bicubic")}
    assert {name.removesuffix("_db") for name in report.figures} == names
    file = read_model(report.weights, "tiny", "bundled")
    assert (file.network, file.config) == ("superres.negvsr/net", SMALL)
    network = load(file, "cpu").network
    assert all(bool(torch.isfinite(value).all()) for value in network.state_dict().values())
    assert (tmp_path / "tiny-negvsr" / "validation.png").stat().st_size > 1000
    again = train(recipe(steps=1), folder=tmp_path, data=data, resume=True)
    assert again.steps == 3


def test_examples_repeat_and_can_be_learned(tmp_path: Path, data: Path) -> None:
    made = recipe()
    made.prepare(tmp_path / "cache", data)
    batches = made.batches(3)
    batch = next(one for one in batches if "noise" in one)
    again = next(one for one in made.batches(3) if "noise" in one)
    assert all(torch.equal(value, again[key]) for key, value in batch.items())
    assert {key: tuple(value.shape) for key, value in batch.items()} == {
        "low": (1, 3, 3, 16, 16), "high": (1, 3, 3, 64, 64), "noise": (1, 3, 3, 16, 16),
        "turns": (1, 3, 16, 16),
    }  # fmt: skip
    network = made.network()
    optimiser = torch.optim.Adam(network.parameters(), 4e-3)
    losses: list[float] = []
    for _ in range(20):
        loss = made.loss(network, batch)
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.95 * losses[0]


def test_guidance_teaches_by_the_negative_alone(tmp_path: Path, data: Path) -> None:
    """Without it the loss is that of the clip, which does not know of the noise."""
    made = recipe()
    made.prepare(tmp_path / "cache", data)
    batch = next(one for one in made.batches(3) if "noise" in one)
    network = made.network()
    plain = {name: batch[name] for name in ("low", "high")}
    calm = {**batch, "noise": batch["low"], "turns": torch.zeros_like(batch["turns"])}
    losses = [float(made.loss(network, one).detach()) for one in (plain, calm, batch)]
    assert losses[0] < losses[1] < losses[2]
