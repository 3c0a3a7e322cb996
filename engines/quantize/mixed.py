"""Bits where they matter: what rounding each layer costs, and the best assignment for a size.

What an option costs is predicted to second order: a layer's output error, seen through the gradient
of the loss at that output, squared and summed over tokens, is the diagonal (over tokens) part of
the empirical Fisher information's quadratic form, half of which is the rise of the loss in nats.
The assignment of least cost for a size is a multiple-choice knapsack, solved exactly for all sizes
at once: the front of (size, cost) pairs, layer by layer, with dominated pairs left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.quantize.layers import Dim, Grid, fitting_group
from engines.quantize.methods.grid import rounded
from engines.quantize.params import Export

CHOICES = (2, 3, 4, 8)
_STEPS = 60_000  # sizes that are told apart; more are rounded up to the next of them


@dataclass(frozen=True)
class Option:
    """One way to round one layer: its grid, what it takes in bits, and its predicted cost in nats
    a token.
    """

    grid: Grid
    size: int
    cost: float


def costs(weight: Tensor, x: Tensor, g: Tensor, grids: Sequence[Grid]) -> Tensor:
    """(options,) float64: predicted rise of the loss, in nats a token, of rounding `weight`.

    Args:
        weight: (out, in) float32.
        x: (tokens, in), what reaches the layer.
        g: (tokens, out), gradient at its output of the loss summed over tokens.
        grids: how finely it may be rounded.
    """
    found: list[float] = []
    for grid in grids:
        change = rounded(weight, grid) - weight
        felt = ((x @ change.T) * g).sum(dim=-1)
        found.append(0.5 * float(felt.double().square().mean()))
    return torch.tensor(found, dtype=torch.float64)


def stored_bits(
    shape: tuple[int, int],
    grid: Grid,
    *,
    extra: float = 0.0,
    export: Export = "auto",
    dims: Sequence[Dim] = ("in",),
) -> int:
    """Bits that a grouped layer of `shape` takes at most, with scales, zero points and padding.

    Lines of codes and of zero points end with a whole word of 32 bits each, which is felt where few
    groups fill a line: nine zero points of 4 bits take 64.

    Args:
        shape: (out, in).
        grid: how finely it is rounded.
        extra: bits a weight that the method stores besides.
        export: the layout; "auto" may become compressed-tensors or our own.
        dims: where the groups may run, "in" among them.
    """
    rows, columns = shape
    groups = {dim: shape[dim == "in"] // _group(shape, grid, dim) for dim in dims}
    lines = {"in": rows, "out": columns}
    total = rows * _words(columns * grid.bits)
    total += max(16 * lines[dim] * count for dim, count in groups.items())
    zeros: list[int] = [0]
    if export in ("auto", "studio") and not grid.symmetric:
        zeros += [lines[dim] * _words(count * grid.bits) for dim, count in groups.items()]
    if export in ("gptq", "awq") or (export != "studio" and not grid.symmetric):
        zeros.append(groups["in"] * _words(rows * grid.bits))
    if export == "gptq":
        total += 32 * columns  # the group of every input
    return math.ceil(total + max(zeros) + extra * rows * columns)


def _group(shape: tuple[int, int], grid: Grid, dim: Dim) -> int:
    return fitting_group(shape[dim == "in"], grid.group_size)


def _words(bits: int) -> int:
    return -(-bits // 32) * 32


@dataclass(frozen=True)
class Front:
    """Best assignments for every size, from the smallest to the most exact.

    Attributes:
        names: of the layers.
        sizes: (assignments,) bits, rising.
        costs: (assignments,) nats a token, falling.
    """

    names: tuple[str, ...]
    sizes: NDArray[np.float64]
    costs: NDArray[np.float64]
    _options: tuple[tuple[Option, ...], ...]
    _came: tuple[tuple[NDArray[np.int32], NDArray[np.int8]], ...]

    def within(self, bits: float) -> int:
        """The assignment of least cost that takes at most `bits`; -1 where none is so small."""
        return int(np.searchsorted(self.sizes, bits, side="right")) - 1

    def below(self, cost: float) -> int:
        """The smallest assignment that costs at most `cost`; the most exact where none does."""
        fits = np.flatnonzero(self.costs <= cost)
        return int(fits[0]) if len(fits) else len(self.costs) - 1

    def grids(self, place: int) -> dict[str, Grid]:
        """The grid of every layer in an assignment."""
        found: dict[str, Grid] = {}
        for number in range(len(self.names) - 1, -1, -1):
            before, option = self._came[number]
            found[self.names[number]] = self._options[number][int(option[place])].grid
            place = int(before[place])
        return found


def front(options: Mapping[str, Sequence[Option]]) -> Front:
    """All assignments that no other beats in both size and cost.

    Exact while the sizes, in units of their greatest common divisor, are fewer than some ten
    thousand, as those of transformers are; else sizes are rounded up, so that a budget still holds.
    """
    names = tuple(options)
    most = sum(max(one.size for one in options[name]) for name in names)
    common = math.gcd(*(one.size for name in names for one in options[name]))
    unit = max(common, most // _STEPS, 1)
    sizes, total = np.zeros(1, np.int64), np.zeros(1)
    came: list[tuple[NDArray[np.int32], NDArray[np.int8]]] = []
    for name in names:
        taken = np.array([-(-one.size // unit) for one in options[name]], np.int64)
        cost = np.array([one.cost for one in options[name]])
        size = (sizes[:, None] + taken[None]).ravel()
        reached = (total[:, None] + cost[None]).ravel()
        order = np.lexsort((reached, size))
        lowest = np.minimum.accumulate(reached[order])
        better = np.concatenate([[True], lowest[1:] < lowest[:-1]])
        kept = order[better]
        sizes, total = size[kept], reached[kept]
        count = len(options[name])
        came.append(((kept // count).astype(np.int32), (kept % count).astype(np.int8)))
    bits = np.asarray(sizes * unit, np.float64)
    return Front(
        names,
        bits,
        np.asarray(total, np.float64),
        tuple(tuple(options[n]) for n in names),
        tuple(came),
    )
