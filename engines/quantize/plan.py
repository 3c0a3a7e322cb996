"""Which layer gets which grid: one width for all, or a mixture that meets a target."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from engines.base import UserError
from engines.quantize.gradients import found_for, sweep
from engines.quantize.layers import Dim, Grid
from engines.quantize.mixed import CHOICES, Front, Option, costs, front, stored_bits
from engines.quantize.params import GridParams
from engines.quantize.skeleton import Skeleton

_WINDOWS = 8  # of calibration text, for sensitivities
_NAME = "sensitivity"


def keeps(skip: str) -> Callable[[str], bool]:
    """Whether a layer's full name contains one of the parts in `skip`, which commas separate."""
    parts = [part.strip() for part in skip.split(",") if part.strip()]
    return lambda name: any(part in name for part in parts)


@dataclass(frozen=True)
class Mixture:
    """What is known of all mixtures of a model.

    Attributes:
        options: full name of a layer -> the ways to round it, by rising bits.
        front: the best mixtures.
        weights: number of weights that are quantized.
    """

    options: Mapping[str, tuple[Option, ...]]
    front: Front
    weights: int

    def uniform(self) -> dict[int, list[Option]]:
        """Bits -> the option of that width of every layer."""
        return {
            bits: [options[number] for options in self.options.values()]
            for number, bits in enumerate(CHOICES)
        }

    def within(self, bits: float) -> int:
        """The best mixture that takes at most so many bits in all.

        Raises:
            UserError: even the smallest takes more.
        """
        place = self.front.within(bits)
        if place < 0:
            least = self.front.sizes[0] / 8e9
            raise UserError(
                f"The quantized layers take {least:.3g} GB even with {CHOICES[0]} bits, more than "
                "the target leaves for them; raise target_gb"
            )
        return place


def mixtures(
    skeleton: Skeleton,
    params: GridParams,
    tokens: Tensor,
    folder: Path,
    *,
    extra: float,
    dims: Sequence[Dim] = ("in",),
    check: Callable[[], None],
    progress: Callable[[float, float, str], None],
) -> Mixture:
    """Measure the sensitivity of every layer and find the best mixtures.

    Args:
        skeleton: of the model.
        params: group size, symmetry and layers to keep.
        tokens: (windows, length) int64, calibration text.
        folder: the scratch folder.
        extra: bits a weight that the method stores besides codes and scales.
        dims: where its groups may run.
        check: raises Cancelled.
        progress: (blocks done, blocks, text).
    """
    grids = [Grid(bits, params.group_size, params.symmetric) for bits in CHOICES]
    sweep(
        skeleton, tokens[:_WINDOWS], folder, _NAME,
        lambda _path, weight, x, g: costs(weight, x, g, grids), check, progress,
    )  # fmt: skip
    size = partial(stored_bits, extra=extra, export=params.export, dims=dims)
    kept = keeps(params.skip)
    options: dict[str, tuple[Option, ...]] = {}
    weights = 0
    for index, block in enumerate(skeleton.blocks):
        for path, cost in found_for(folder, index, _NAME).items():
            name = f"{block}.{path}"
            if kept(name):
                continue
            shape = skeleton.linear_shape(name)
            weights += shape[0] * shape[1]
            options[name] = tuple(
                Option(grid, size(shape, grid), float(c))
                for grid, c in zip(grids, cost, strict=True)
            )
    if not options:
        raise UserError("All layers are kept as they are; name fewer in skip")
    return Mixture(options, front(options), weights)


@dataclass
class Search:
    """The allowed cost of a mixture, corrected by what was measured, until a perplexity is met.

    The prediction is good for ranking, less so for its scale: a method that corrects for what it
    rounds costs less than plain rounding, on which the prediction rests.

    Attributes:
        allowed: rise of the loss in nats a token that the person allows.
        ratio: measured over predicted rise, so far.
    """

    allowed: float
    ratio: float = 1.0

    @classmethod
    def up_to(cls, percent: float) -> Search:
        """For a perplexity that may rise by `percent`."""
        return cls(math.log1p(percent / 100.0))

    def place(self, found: Front) -> int:
        """The smallest mixture that should do."""
        return found.below(self.allowed / self.ratio)

    def learn(self, predicted: float, measured: float) -> Search:
        """With the ratio of one more measurement."""
        return replace(self, ratio=max(measured, 1e-6) / max(predicted, 1e-9))
