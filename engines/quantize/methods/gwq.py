"""GWQ: the 1 % of weights with the largest gradients stay as they are, the rest is rounded.

Shao et al., "GWQ: Gradient-Aware Weight Quantization for Large Language Models" (2024). The paper
says in prose how outliers are found and what is done with the rest, and no code of its authors is
public: the details are this project's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar, Literal

import torch
from torch import Tensor

from engines.quantize.block import Block
from engines.quantize.layers import Grid, Outliers, QuantizedLayer
from engines.quantize.method import Uses
from engines.quantize.methods.grid import Search, cost_of, group_of, note_groups, round_weight

Mask = Literal["gradient", "gradient x weight", "magnitude", "random"]


@dataclass(frozen=True)
class Gwq:
    """Outliers by gradient, kept in float16; everything else group-wise, on ranges without them.

    Attributes:
        share: of a layer's weights that are kept, 0 to 1.
        mask: what makes a weight an outlier; "magnitude" and "random" need no gradient and are
            there to compare with.
        search: how ranges of what is left are found.
        seed: of the random mask.
    """

    name: ClassVar[str] = "gwq"
    uses: ClassVar[Uses] = "gradients"

    share: float = 0.01
    mask: Mask = "gradient"
    search: Search = "mse"
    seed: int = 0

    def see_gradient(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """Flat indices (n,) int64, rising, of the outliers; n is ceil(share * weights)."""
        score = gradient.abs()
        if self.mask == "gradient x weight":
            score = score * weight.abs()
        return top_places(score.nan_to_num_(nan=0.0), self.share)

    def quantize(self, block: Block, grids: Mapping[str, Grid]) -> dict[str, QuantizedLayer]:
        """See `engines.quantize.method.Method`."""
        note_groups(block, grids)
        cost = cost_of(self.search)
        made: dict[str, QuantizedLayer] = {}
        for path, grid in grids.items():
            block.check()
            block.progress(len(made) / len(grids), path)
            weight = block.weight(path)
            places = self._places(block, path, weight)
            if places is None:
                made[path] = round_weight(weight, grid, cost=cost)
                continue
            filled = without(weight, places, group_of(weight.shape[1], grid))
            layer = round_weight(filled, grid, cost=cost)
            made[path] = replace(layer, outliers=Outliers.taken(weight, places))
        return made

    def _places(self, block: Block, path: str, weight: Tensor) -> Tensor | None:
        if self.mask == "magnitude":
            return top_places(weight.abs(), self.share)
        if self.mask == "random":
            return self._random_places(block, path, weight)
        places = block.found.get(path)
        if places is None:
            block.note(f"{block.name}.{path} keeps no outliers: no calibration token reached it")
            return None
        return places.to(weight.device)

    def _random_places(self, block: Block, path: str, weight: Tensor) -> Tensor:
        random = torch.Generator().manual_seed(self.seed + 1000 * block.index)
        random.manual_seed(random.initial_seed() + block.linears.index(path))
        score = torch.rand(weight.shape, generator=random)
        return top_places(score, self.share).to(weight.device)


def top_places(score: Tensor, share: float) -> Tensor:
    """Flat indices (n,) int64, rising, of the n = ceil(share * numel) largest scores.

    Of equal ones at the threshold those with the lowest indices are taken, so that the number is
    exact and the choice is always the same.
    """
    flat = score.reshape(-1)
    # The product may miss a whole number by a rounding error, such as 0.01 * 700.
    wanted = min(ceil(round(share * len(flat), 6)), len(flat))
    if wanted <= 0:
        return torch.empty(0, dtype=torch.int64, device=flat.device)
    threshold = flat.kthvalue(len(flat) - wanted + 1).values
    above = (flat > threshold).nonzero().squeeze(1)
    equal = (flat == threshold).nonzero().squeeze(1)
    return torch.cat([above, equal[: wanted - len(above)]]).sort().values


def without(weight: Tensor, places: Tensor, size: int) -> Tensor:
    """A copy of `weight` (out, in) whose `places` hold the mean of the rest of their groups.

    Args:
        weight: (out, in) float32.
        places: flat indices (n,) int64.
        size: weights of a group, along the inputs; a group of outliers alone gets 0.
    """
    kept = torch.ones(weight.numel(), dtype=torch.bool, device=weight.device)
    kept[places] = False
    groups = weight.reshape(-1, size)
    inside = kept.view(-1, size)
    total = torch.where(inside, groups, 0.0).sum(1, keepdim=True)
    mean = total / inside.sum(1, keepdim=True).clamp_min(1)
    return torch.where(inside, groups, mean).view(weight.shape)
