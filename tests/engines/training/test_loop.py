"""The training loop on a network of one number."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engines import weights
from engines.base import UserError
from engines.training import recipes, run_recipe
from engines.training.loop import Batch, Recipe, Report, TrainConfig, train


class LineRecipe(Recipe):
    """Learns y = 3 x from exact examples."""

    name = "line"
    title = "A line through the origin"

    def __init__(self, **config: Any) -> None:
        self.config = TrainConfig(
            **({"rate": 0.05, "steps": 200, "average": 0.9, "validate_every": 1e9} | config)
        )

    def network(self) -> nn.Module:
        network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(network.weight)
        return network

    def prepare(self, cache: Path, data: Path | None) -> None:
        cache.mkdir(parents=True, exist_ok=True)

    def batches(self, seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            x = torch.randn(8, 1, generator=generator)
            yield {"x": x, "y": 3.0 * x}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        return (network(batch["x"]) - batch["y"]).square().mean()

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        figure.write_bytes(b"")
        [weight] = network.parameters()
        return {"error": abs(float(weight) - 3.0)}

    def card(self) -> dict[str, Any]:
        return {"network": "raw.yond/snrnet", "config": {"nf": 1}, "title": self.title}


def _train(folder: Path, recipe: LineRecipe | None = None, **options: Any) -> Report:
    return train(recipe or LineRecipe(), folder=folder, **options)


def test_it_learns_and_exports_the_average_with_its_card(tmp_path: Path) -> None:
    report = _train(tmp_path)
    assert report.steps == 200
    assert report.figures["error"] < 0.05
    file = weights.read_model(report.weights, "line", "yours")
    assert file.network == "raw.yond/snrnet"
    assert file.card["steps"] == 200
    assert file.card["figures"] == report.figures
    [saved] = weights.read_tensors(report.weights).values()
    assert abs(float(saved) - 3.0) == pytest.approx(report.figures["error"], abs=1e-6)
    assert sorted(p.name for p in (tmp_path / "line").iterdir()) == [
        "curve.csv", "line.json", "line.safetensors", "state.pt", "validation.png"
    ]  # fmt: skip


def test_resume_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = _train(tmp_path, LineRecipe(steps=20))
    second = _train(tmp_path, LineRecipe(steps=60), resume=True)
    assert second.steps == 80
    assert second.seconds >= first.seconds
    assert second.figures["error"] < first.figures["error"]
    with (tmp_path / "line" / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [20, 80]
    fresh = _train(tmp_path, LineRecipe(steps=20))
    assert fresh.steps == 20


def test_resume_without_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to resume in line"):
        _train(tmp_path, resume=True)


def test_a_machine_without_the_state_goes_on_from_the_weights_that_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _train(tmp_path / "here", LineRecipe(steps=40))
    monkeypatch.setattr("engines.training.loop.BUNDLED", first.weights.parent)
    second = _train(tmp_path / "there", LineRecipe(steps=1, rate=1e-9), resume=True)
    assert second.steps == 41
    assert second.figures["error"] == pytest.approx(first.figures["error"], abs=1e-6)
    assert weights.read_model(second.weights, "line", "yours").card["runs"] == 2


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    files = [_train(tmp_path / name).weights for name in ("a", "b")]
    first, second = (weights.read_tensors(file) for file in files)
    assert torch.equal(first["weight"], second["weight"])


def test_a_time_budget_ends_the_run(tmp_path: Path) -> None:
    said: list[str] = []
    report = _train(tmp_path, LineRecipe(steps=10**9), budget_minutes=0.005, say=said.append)
    assert 0 < report.steps < 10**6
    assert report.seconds < 30
    assert len(said) == 1
    assert f"step {report.steps}" in said[0]


def test_it_validates_on_the_way(tmp_path: Path) -> None:
    said: list[str] = []
    _train(tmp_path, LineRecipe(steps=30, validate_every=0.0), say=said.append)
    assert len(said) == 31


def test_the_state_is_tensors_and_numbers_alone(tmp_path: Path) -> None:
    _train(tmp_path)
    state = torch.load(tmp_path / "line" / "state.pt", weights_only=True)
    assert state["step"] == 200


def test_recipes_are_listed_and_unknown_ones_refused(tmp_path: Path) -> None:
    assert "yond-snrnet-small" in recipes()
    with pytest.raises(UserError, match="no recipe called nothing"):
        run_recipe("nothing", folder=tmp_path)
