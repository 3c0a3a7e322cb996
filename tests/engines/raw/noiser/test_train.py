"""The recipe, and training in front of a person: looks, a stop in the middle, the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from engines.base import Cancelled
from engines.raw.noiser.arch import NoiserNet
from engines.raw.noiser.train import NoiserRecipe
from engines.raw.noiser.training import TrainEngine, TrainParams
from engines.training.loop import train
from engines.weights import load, read_model, read_training_state
from studio.bench.job import BenchJob

PHOTO = Path(__file__).parents[3] / "data" / "photos" / "00-craft-beer.png"


class KeptJob(BenchJob):
    """A job with folders that stay, cancelled at a given check."""

    def __init__(self, folder: Path, cancel_at: int = 0) -> None:
        super().__init__(folder)
        self._cancel_at, self.checks = cancel_at, 0

    def resumable(self, key: str) -> Path:
        found = self.workspace / key.replace("/", "_")[:60]
        found.mkdir(exist_ok=True)
        return found

    def check_cancelled(self) -> None:
        self.checks += 1
        if self.checks == self._cancel_at:
            raise Cancelled


def test_sizes_are_the_paper_s() -> None:
    assert sum(one.numel() for one in NoiserNet(32).parameters()) == 1763
    assert sum(one.numel() for one in NoiserNet(16).parameters()) == 883


def test_noise_is_learned_and_nothing_else(tmp_path: Path) -> None:
    recipe = NoiserRecipe(steps=150, width=8)
    first = next(recipe.batches(1))["noise"]
    assert first.shape == (1, 3, 104, 104)
    assert float(first.abs().max()) == 1.0
    assert torch.equal(first, next(recipe.batches(1))["noise"])
    torch.manual_seed(0)
    before = recipe.loss(recipe.network(), {"noise": first}).item()
    report = train(recipe, folder=tmp_path)
    model = read_model(report.weights, "mine", "yours")
    assert model.network == "raw.noiser/net"
    after = recipe.loss(load(model, "cpu").network, {"noise": first}).item()
    assert after < 0.95 * before
    assert (tmp_path / "noiser" / "validation.png").is_file()
    assert not list(tmp_path.rglob("packages"))  # nothing was fetched


def test_a_stop_keeps_the_checkpoint_and_the_next_start_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.raw.noiser.training._EVERY", 0.0)  # a look at every step
    params = TrainParams(key="answer", steps=12)
    with pytest.raises(Cancelled):
        TrainEngine().run([PHOTO], params, KeptJob(tmp_path, cancel_at=6))
    answer = tmp_path / "answer"
    seen = json.loads((answer / "region.json").read_text())
    assert [step for step, _ in seen["curve"]] == [1, 2, 3, 4, 5]
    assert (answer / "after.png").is_file()
    assert not (answer / "noiser.safetensors").exists()
    [state] = tmp_path.rglob("state.pt")
    assert read_training_state(state, "cpu")["step"] == 5
    TrainEngine().run([PHOTO], params, KeptJob(tmp_path))
    seen = json.loads((answer / "region.json").read_text())
    assert seen["curve"][-1][0] == 12
    assert seen["curve"][5][0] == 6
    assert "seconds" in seen
    found = load(read_model(answer / "noiser.safetensors", "mine", "yours"), "cpu").network
    assert isinstance(found, NoiserNet)
    assert not list(tmp_path.rglob("state.pt"))  # it is finished
