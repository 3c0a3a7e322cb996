"""AdaDim: groups along the inputs or along the outputs, whichever leaves the better layer.

Heo et al., "Rethinking Channel Dimensions to Isolate Outliers for Low-bit Weight Quantization of
Large Language Models" (ICLR 2024). Where all weights of one input channel share scales, an outlier
among the channels cannot spoil its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from engines.quantize.block import Block
from engines.quantize.layers import Dim, Grid, Grouped, QuantizedLayer
from engines.quantize.method import NoGradients, Uses
from engines.quantize.methods.curvature import curvatures
from engines.quantize.methods.gptq import gptq_grouped
from engines.quantize.methods.grid import Search, cost_of, note_groups, round_weight
from engines.quantize.methods.parts import Inspected, find_parts, inspected, sample


@dataclass(frozen=True)
class AdaDim(NoGradients):
    """Round to nearest, or GPTQ, along the better dimension of every layer.

    Attributes:
        base: what rounds once the dimension is chosen; it is chosen by rounding to nearest.
        search: how ranges are found.
        damping: of GPTQ's Hessians.
        tokens: how many the two are compared on.
    """

    name: ClassVar[str] = "adadim"
    uses: ClassVar[Uses] = "activations"

    base: Literal["rtn", "gptq"] = "gptq"
    search: Search = "mse"
    damping: float = 0.01
    tokens: int = 2048

    def quantize(self, block: Block, grids: Mapping[str, Grid]) -> dict[str, QuantizedLayer]:
        """See `engines.quantize.method.Method`."""
        note_groups(block, grids)
        with block.restored(grids):
            chosen = self._chosen(block, grids)
        along = [path for path, layer in chosen.items() if layer.dim == "out"]
        if along:
            block.note(f"Groups run along the outputs in {block.name}: {', '.join(along)}")
        if self.base == "rtn":
            return dict(chosen)
        made: dict[str, QuantizedLayer] = {}
        for path, curvature in curvatures(block, list(grids), damping=self.damping):
            block.progress(0.4 + 0.6 * len(made) / len(grids), path)
            layer = chosen[path]
            made[path] = layer if curvature is None else gptq_grouped(
                block.weight(path), curvature, grids[path],
                dim=layer.dim, search=self.search, check=block.check,
            )  # fmt: skip
        return made

    def _chosen(self, block: Block, grids: Mapping[str, Grid]) -> dict[str, Grouped]:
        """Every layer rounded to nearest, with those before it in the block rounded as well."""
        few = sample(block, self.tokens)
        chosen: dict[str, Grouped] = {}
        for part in find_parts(block):
            paths = [path for path in part.paths if path in grids]
            if not paths:
                continue
            judge = Inspected(few, inspected(block, paths))
            for path in paths:
                block.progress(0.4 * len(chosen) / len(grids), f"dimension of {path}")
                chosen[path] = self._better(block, path, grids[path], judge)
        return chosen

    def _better(self, block: Block, path: str, grid: Grid, judge: Inspected) -> Grouped:
        """The dimension with the lower error of what `judge` looks at, left in the block."""
        weight = block.weight(path)
        whole = weight.clone()
        along_inputs = self._nearest(whole, grid, "in")
        if not judge.reached:
            block.note(f"{block.name}.{path} has the usual groups: no calibration token reached it")
            return along_inputs
        along_outputs = self._nearest(whole, grid, "out")
        errors: list[float] = []
        for layer in (along_outputs, along_inputs):
            weight.copy_(layer.dequantize())
            errors.append(judge.error())
        if errors[1] <= errors[0]:
            return along_inputs
        weight.copy_(along_outputs.dequantize())
        return along_outputs

    def _nearest(self, weight: Tensor, grid: Grid, dim: Dim) -> Grouped:
        cost = cost_of(self.search)
        return round_weight(weight, grid, dim=dim, cost=cost)
