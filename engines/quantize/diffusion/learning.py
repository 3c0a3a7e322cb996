"""The state of a training, kept after every pass for an attempt that goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from engines.weights import read_training_state

_NAME = "training.pt"


class Learned(Protocol):
    """A layer that is trained."""

    def parameters(self) -> dict[str, Tensor]:
        """What is learned, by name."""
        ...

    def fill(self, kept: Mapping[str, Tensor]) -> None:
        """Take up what `parameters` gave."""
        ...


def save_state(
    folder: Path, learned: Mapping[str, Learned], optimiser: torch.optim.Optimizer, passes: int
) -> None:
    """Keep everything after a pass: tensors and numbers only, under a temporary name first."""
    layers = {
        name: {key: value.detach() for key, value in one.parameters().items()}
        for name, one in learned.items()
    }
    partial = folder / f"{_NAME}.partial"
    torch.save({"layers": layers, "optimiser": optimiser.state_dict(), "passes": passes}, partial)
    os.replace(partial, folder / _NAME)


def load_state(
    folder: Path, learned: Mapping[str, Learned], optimiser: torch.optim.Optimizer
) -> int:
    """Take up what was kept; returns the passes that are done, 0 where nothing usable is there."""
    if not (folder / _NAME).is_file():
        return 0
    try:
        kept = read_training_state(folder / _NAME, "cpu")
        layers, passes = kept["layers"], int(kept["passes"])
        if layers.keys() != learned.keys():
            return 0
        optimiser.load_state_dict(kept["optimiser"])
    except (OSError, RuntimeError, KeyError, ValueError, EOFError):
        (folder / _NAME).unlink(missing_ok=True)
        return 0
    for name, one in learned.items():
        one.fill(layers[name])
    return passes
