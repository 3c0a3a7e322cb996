"""Round to nearest: no data at all, and what every other method is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from engines.quantize.block import Block
from engines.quantize.layers import Grid, QuantizedLayer
from engines.quantize.method import NoGradients, Uses
from engines.quantize.methods.grid import Search, cost_of, note_groups, round_weight


@dataclass(frozen=True)
class Rtn(NoGradients):
    """Every weight becomes the nearest number of its group's grid.

    Attributes:
        search: "minmax" is plain rounding; "mse" looks for the range of each group that leaves the
            least squared error.
    """

    name: ClassVar[str] = "rtn"
    uses: ClassVar[Uses] = "weights"

    search: Search = "minmax"

    def quantize(self, block: Block, grids: Mapping[str, Grid]) -> dict[str, QuantizedLayer]:
        """See `engines.quantize.method.Method`."""
        note_groups(block, grids)
        cost = cost_of(self.search)
        made: dict[str, QuantizedLayer] = {}
        for path, grid in grids.items():
            block.check()
            made[path] = round_weight(block.weight(path), grid, cost=cost)
        return made
