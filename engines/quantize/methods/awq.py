"""AWQ: input channels that matter are scaled up before rounding, and what feeds them down.

Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration" (MLSys
2024), section 3.2, with AutoAWQ's scales from activations and weights together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engines.quantize.block import Block
from engines.quantize.layers import Grid, QuantizedLayer
from engines.quantize.method import NoGradients, Uses
from engines.quantize.methods.awq_folds import Fold, find_folds
from engines.quantize.methods.grid import (
    correlated,
    group_of,
    note_groups,
    round_weight,
    rounded,
    tiles,
)
from engines.quantize.methods.parts import (
    Inspected,
    Part,
    find_parts,
    inspected,
    sample,
    trace,
)

_NOT_CLIPPED = ("q_", "k_", "query", "key", "qkv", "c_attn")
"""Parts of names of layers that make queries or keys, which AWQ does not clip.

On symmetric grids their ranges are searched nevertheless: there the search also finds which side of
a group is to have the one code more, and what the block returns gets better for it (SmolLM2-135M,
3 bits, error of blocks on other text 2 to 12 % lower; on asymmetric grids 1 % lower to 1 % higher).
"""

_WIDEST_CLIPPED = 1024


@dataclass(frozen=True)
class Awq(NoGradients):
    """Activation-aware scales, folded into the norm or layer before, and clipped ranges.

    Attributes:
        points: scales tried are the channels' magnitudes to the power of 0, 1 / points, ..., below
            1; no scaling at all is tried too.
        duo: weights' magnitudes go into the scales besides those of the activations.
        clip: look for the range of each group that leaves the least error of its share of output.
        tokens: how many the scales are tried on; the magnitudes and the clipping look at all.
    """

    name: ClassVar[str] = "awq"
    uses: ClassVar[Uses] = "activations"

    points: int = 20
    duo: bool = True
    clip: bool = True
    tokens: int = 512

    def quantize(self, block: Block, grids: Mapping[str, Grid]) -> dict[str, QuantizedLayer]:
        """See `engines.quantize.method.Method`; scales stay folded into the block."""
        note_groups(block, grids)
        block.progress(0.0, "which layers can be scaled")
        flow = trace(block)
        seen = _look(block, grids, find_parts(block, flow), self.clip)
        folds = find_folds(block, flow)
        del flow
        few = sample(block, self.tokens)
        scaled: set[str] = set()
        for number, fold in enumerate(folds):
            targets = [path for path in fold.targets if path in grids and path in seen.mean]
            if not targets:
                continue
            block.progress(0.1 + 0.6 * number / len(folds), f"scales of {targets[0]}")
            scale = self._best_scale(few, fold, targets, seen.mean[targets[0]], grids)
            scaled.update(targets)
            if scale is not None:
                scale = fold.storable(block, scale)
                fold.apply(block, scale)
                seen.scale(targets, scale)
        made: dict[str, QuantizedLayer] = {}
        for path, grid in grids.items():
            block.check()
            block.progress(0.7 + 0.3 * len(made) / len(grids), f"ranges of {path}")
            gram = seen.gram.get(path)
            whole = not grid.symmetric and any(word in path for word in _NOT_CLIPPED)
            cost = None if gram is None or whole else correlated(gram)
            made[path] = round_weight(block.weight(path), grid, cost=cost)
            _say(block, path, path in seen.mean, path in scaled)
        return made

    def _best_scale(
        self,
        block: Block,
        fold: Fold,
        targets: Sequence[str],
        mean: Tensor,
        grids: Mapping[str, Grid],
    ) -> Tensor | None:
        """Of all scales (in,) tried the one with the least error of the inspected module."""
        whole = {path: block.weight(path).clone() for path in targets}
        judge = Inspected(block, inspected(block, targets))
        if not judge.reached:
            return None

        def error(scale: Tensor | None) -> float:
            for path, weight in whole.items():
                if scale is None:
                    made = rounded(weight, grids[path])
                else:
                    made = rounded(weight * scale, grids[path]).div_(scale)
                block.weight(path).copy_(made)
            return judge.error()

        with block.restored(targets):
            best, least = None, error(None)
            for scale in self._scales(fold, mean, whole, grids):
                found = error(scale)
                if found < least:
                    best, least = scale, found
        return best

    def _scales(
        self, fold: Fold, mean: Tensor, whole: Mapping[str, Tensor], grids: Mapping[str, Grid]
    ) -> Iterator[Tensor]:
        # A channel that the calibration text leaves silent is not scaled to nothing.
        mean = fold.shared(mean.clamp_min(1e-3 * float(mean.mean())))
        other = fold.shared(_magnitudes(whole, grids)) if self.duo else None
        for point in range(self.points):
            power = point / self.points
            scale = mean**power
            if other is not None:
                scale = scale / (other ** (1 - power) + 1e-4)
            scale = scale.clamp_min(1e-4)
            scale = scale / (scale.max() * scale.min()).sqrt()
            yield torch.where(scale.isfinite(), scale, 1.0)


def _magnitudes(whole: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> Tensor:
    """(in,) mean, over all rows, of each weight as a share of the largest in its group."""
    total, rows = torch.zeros(()), 0
    for path, weight in whole.items():
        for _, groups in tiles(weight, group_of(weight.shape[1], grids[path])):
            shares = groups.abs()
            shares = shares / (shares.amax(-1, keepdim=True) + 1e-6)
            total = total.to(weight.device) + shares.flatten(1).sum(0)
        rows += weight.shape[0]
    return total / rows


@dataclass(frozen=True)
class _Look:
    """What reaches layers: mean |x| (in,), and mean x x^T within groups (in / g, g, g)."""

    mean: dict[str, Tensor]
    gram: dict[str, Tensor]

    def scale(self, paths: Sequence[str], scale: Tensor) -> None:
        """Their inputs are divided by `scale` (in,) from now on."""
        for path in paths:
            self.mean[path] = self.mean[path] / scale
            if path in self.gram:
                by_group = scale.view(*self.gram[path].shape[:2])
                products = by_group.unsqueeze(1) * by_group.unsqueeze(2)
                self.gram[path] = self.gram[path] / products


def _look(block: Block, grids: Mapping[str, Grid], parts: Sequence[Part], grams: bool) -> _Look:
    """Sweep once; layers with one input share what is found, those without a token have none."""
    wanted = [[path for path in part.paths if path in grids] for part in parts]
    leaders = {part[0]: part for part in wanted if part}
    count = dict.fromkeys(leaders, 0)
    mean: dict[str, Tensor] = {}
    gram: dict[tuple[str, int], Tensor] = {}
    sizes = {
        leader: {group_of(block.weight(leader).shape[1], grids[path]) for path in part}
        for leader, part in leaders.items()
    }

    def see(path: str, x: Tensor) -> None:
        if not len(x):
            return
        count[path] += len(x)
        share = len(x) / count[path]
        mean[path] = torch.lerp(mean.get(path, x.new_zeros(())), x.abs().mean(0), share)
        for size in sizes[path] if grams else ():
            if size <= _WIDEST_CLIPPED:
                by_group = x.unflatten(1, (-1, size)).transpose(0, 1)  # (n, tokens, g)
                own = by_group.transpose(1, 2) @ by_group / len(x)
                old = gram.get((path, size))
                gram[path, size] = own if old is None else old.lerp_(own, share)

    block.sweep(list(leaders), see)
    found = _Look({}, {})
    for leader, part in leaders.items():
        for path in part:
            size = group_of(block.weight(path).shape[1], grids[path])
            if leader in mean:
                found.mean[path] = mean[leader]
            if (leader, size) in gram:
                found.gram[path] = gram[leader, size]
    return found


def _say(block: Block, path: str, reached: bool, scaled: bool) -> None:
    if not reached:
        block.note(f"{block.name}.{path} was rounded to nearest: no calibration token reached it")
    elif not scaled:
        block.note(
            f"{path} was not scaled, as nothing before it can take the inverse; its ranges were "
            "chosen all the same"
        )
