"""A recipe that is trained in a blink, for tests of what stands around training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engines.training.loop import Batch, Recipe, TrainConfig


class LineRecipe(Recipe):
    """Learns y = 2 x."""

    name = "line"
    title = "A line through the origin"
    config = TrainConfig(rate=0.05, steps=200, validate_every=1e9)

    def network(self) -> nn.Module:
        return nn.Linear(1, 1, bias=False)

    def prepare(self, cache: Path, data: Path | None) -> None:
        cache.mkdir(parents=True, exist_ok=True)

    def batches(self, seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            x = torch.rand(8, 1, generator=generator)
            yield {"x": x, "y": 2 * x}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        return (network(batch["x"]) - batch["y"]).square().mean()

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        figure.write_bytes(b"a picture")
        return {"slope": float(network(torch.ones(1, 1)))}

    def card(self) -> dict[str, Any]:
        return {"network": "tests/line", "config": {}, "licence": "Apache-2.0"}


def line() -> LineRecipe:
    return LineRecipe()
