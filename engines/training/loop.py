"""The one training loop: resume, moving average, time budget, curve, figure, export.

A run lives in a folder: `state.pt` (tensors and numbers only, read back with weights_only),
`curve.csv` and `validation.png`. The schedule follows the time budget when there is one, so a
recipe makes the best of ten minutes and of ten hours; a resumed run starts a new cosine whose peak
is halved at every restart, as YOND's own schedule does.
"""

from __future__ import annotations

import csv
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engines.base import UserError
from engines.training.muon import Muon
from engines.weights import (
    BUNDLED,
    read_model,
    read_tensors,
    read_training_state,
    save_safetensors,
)

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class TrainConfig:
    """Numbers of a schedule.

    Attributes:
        rate: peak learning rate of the first cosine.
        final_rate: learning rate at its end, as a share of the peak.
        warm_up: share of a run in which the rate rises.
        steps: length of a run without a time budget.
        average: decay of the exponential moving average of the weights.
        betas: of AdamW.
        muon: peak rate of Muon for the weights that `Recipe.hidden` names; 0 leaves all to AdamW.
        half: export weights as float16; they are used in float32 all the same.
        validate_every: seconds between validations.
    """

    rate: float
    final_rate: float = 0.02
    warm_up: float = 0.02
    steps: int = 20_000
    average: float = 0.999
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    muon: float = 0.0
    half: bool = False
    validate_every: float = 300.0
    seed: int = 1


class Recipe(ABC):
    """What `train` needs to know of a network; instances are made by `engines.training`."""

    name: str
    title: str
    config: TrainConfig

    @abstractmethod
    def network(self) -> nn.Module:
        """A fresh network with its starting weights."""

    @abstractmethod
    def prepare(self, cache: Path, data: Path | None) -> None:
        """Fetch and cache the data; raises UserError where it cannot be had."""

    @abstractmethod
    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless batches on the CPU, the same for the same seed."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Scalar training loss."""

    @abstractmethod
    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """Figures on data kept out of training; writes a picture to look at."""

    @abstractmethod
    def card(self) -> dict[str, Any]:
        """What the model card says besides the figures: network, config, data, licence."""

    def hidden(self, network: nn.Module) -> set[str]:
        """Names of the weights that Muon moves where the schedule asks for it.

        By default all of two and more dimensions, without those of single channels.
        """
        named = network.named_parameters()
        return {name for name, one in named if one.ndim >= 2 and one[0].numel() > 9}

    def shipped(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        """Weights and card to go on from on a machine without the run's state; None if none ship.

        By default those that are called as the recipe is.
        """
        return bundled_weights(self.name)

    def export(self, run: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any]) -> Path:
        """Write what ships into the run's folder; returns the file of weights."""
        path = run / f"{self.name}.safetensors"
        save_safetensors(path, weights, card)
        return path


def bundled_weights(
    name: str, prefix: str = ""
) -> tuple[dict[str, Tensor], Mapping[str, Any]] | None:
    """Tensors whose names begin with `prefix`, and the card, of weights that ship; or None."""
    path = BUNDLED / f"{name}.safetensors"
    if not path.is_file():
        return None
    tensors = {k: v for k, v in read_tensors(path).items() if k.startswith(prefix)}
    return tensors, read_model(path, name, "bundled").card


@dataclass(frozen=True)
class Report:
    """What came out: `weights` is the exported safetensors file."""

    recipe: str
    steps: int
    seconds: float
    figures: dict[str, float]
    weights: Path


@dataclass
class _State:
    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    runs: int = 0
    figures: dict[str, float] = field(default_factory=dict)


def train(
    recipe: Recipe,
    *,
    folder: Path,
    budget_minutes: float | None = None,
    resume: bool = False,
    device: str = "cpu",
    data: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
    watch: Callable[[int, Tensor], bool] = lambda step, loss: False,
) -> Report:
    """Train, validating and saving on the way; the last thing done is an export.

    Args:
        recipe: what to train.
        folder: `folder/<recipe>/` holds the run, `folder/cache/` the data.
        budget_minutes: stop after so long; without it, after `config.steps` steps.
        resume: go on from the saved state, or else from the weights that ship, instead of starting
            afresh.
        device: torch device string.
        data: the user's own files instead of the named packages.
        say: gets one line at every validation.
        watch: gets every step's number and loss; True ends the run as its budget would.

    Raises:
        UserError: the data cannot be had, or there is nothing to resume.
    """
    run = folder / recipe.name
    run.mkdir(parents=True, exist_ok=True)
    recipe.prepare(folder / "cache", data)
    state = _start(recipe, run, device, resume)
    config = recipe.config
    begun, first = time.monotonic(), state.step
    budget = None if budget_minutes is None else 60.0 * budget_minutes
    before = state.seconds
    less = 0.5**state.runs
    validated = begun
    total = torch.zeros((), device=device)
    counted = 0
    for batch in recipe.batches(config.seed + 7919 * state.runs + state.step):
        spent = time.monotonic() - begun
        share = spent / budget if budget is not None else (state.step - first) / config.steps
        if share >= 1.0:
            break
        for group in state.optimiser.param_groups:
            group["lr"] = group.get("peak", config.rate) * less * _cosine(share, config)
        moved = {name: value.to(device) for name, value in batch.items()}
        loss = recipe.loss(state.network, moved)
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(state.network.parameters(), config.clip)
        state.optimiser.step()
        state.step += 1
        _follow(state.average, state.network, min(config.average, state.step / (state.step + 10)))
        total += loss.detach()
        counted += 1
        if watch(state.step, loss.detach()):
            break
        if time.monotonic() - validated > config.validate_every:
            state.seconds = before + time.monotonic() - begun
            _checkpoint(recipe, run, state, float(total) / counted, say)
            total.zero_()
            counted, validated = 0, time.monotonic()
    state.seconds = before + time.monotonic() - begun
    state.runs += 1
    weights = _checkpoint(recipe, run, state, float(total) / max(counted, 1), say)
    return Report(recipe.name, state.step, state.seconds, state.figures, weights)


def _cosine(share: float, config: TrainConfig) -> float:
    if share < config.warm_up:
        return share / config.warm_up
    along = (share - config.warm_up) / (1.0 - config.warm_up)
    return config.final_rate + (1.0 - config.final_rate) * 0.5 * (1.0 + math.cos(math.pi * along))


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1.0 - decay)


def _start(recipe: Recipe, run: Path, device: str, resume: bool) -> _State:
    network = recipe.network().to(device)
    average = recipe.network().to(device)
    average.load_state_dict(network.state_dict())
    optimiser = _optimiser(recipe, network)
    state = _State(network, average, optimiser)
    if resume and (run / "state.pt").is_file():
        saved = read_training_state(run / "state.pt", device)
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        if _same_kind(optimiser.state_dict(), saved["optimiser"]):
            optimiser.load_state_dict(saved["optimiser"])
        state.step, state.seconds, state.runs = saved["step"], saved["seconds"], saved["runs"]
    elif resume:
        shipped = recipe.shipped()
        if shipped is None:
            raise UserError(f"There is nothing to resume in {run.name}; train without --resume")
        tensors, card = shipped
        network.load_state_dict(tensors)
        average.load_state_dict(tensors)
        state.step, state.seconds = card["steps"], card["seconds"]
        state.runs = max(card.get("runs", 1), 1)
    return state


def _same_kind(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a saved optimiser moves the same parameters the same way; recipes change."""
    kinds = [
        [(sorted(group), len(group["params"])) for group in state["param_groups"]]
        for state in (one, other)
    ]
    return kinds[0] == kinds[1]


def _optimiser(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    config = recipe.config
    if config.muon == 0.0:
        return torch.optim.AdamW(
            network.parameters(), config.rate, config.betas, weight_decay=config.weight_decay
        )
    hidden = recipe.hidden(network)
    parts = dict(network.named_parameters())
    others = [one for name, one in parts.items() if name not in hidden]
    return Muon([parts[name] for name in sorted(hidden)], others, config.muon, config.rate)


def _checkpoint(
    recipe: Recipe, run: Path, state: _State, loss: float, say: Callable[[str], None]
) -> Path:
    """Validate the average, then write state, curve and export, each under a temporary name.

    Returns:
        The exported file of weights.
    """
    state.average.eval()
    with torch.no_grad():
        state.figures = recipe.validate(state.average, run / "validation.png")
    partial = run / "state.pt.partial"
    torch.save(
        {
            "network": state.network.state_dict(),
            "average": state.average.state_dict(),
            "optimiser": state.optimiser.state_dict(),
            "step": state.step,
            "seconds": state.seconds,
            "runs": state.runs,
        },
        partial,
    )
    os.replace(partial, run / "state.pt")
    row = {"step": state.step, "seconds": round(state.seconds), "loss": round(loss, 5)}
    row.update({name: round(value, 4) for name, value in state.figures.items()})
    curve = run / "curve.csv"
    new = not curve.exists()
    with curve.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
    card = recipe.card() | {
        "recipe": recipe.name,
        "steps": state.step,
        "runs": state.runs,
        "seconds": round(state.seconds),
        "figures": state.figures,
    }
    weights = state.average.state_dict()
    if recipe.config.half:
        weights = {name: value.half() for name, value in weights.items()}
    exported = recipe.export(run, weights, card)
    say(", ".join(f"{name} {value}" for name, value in row.items()))
    return exported
