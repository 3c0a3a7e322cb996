"""AdaDim: groups along the inputs or along the outputs, whichever leaves the better layer.

Heo et al., "Rethinking Channel Dimensions to Isolate Outliers for Low-bit Weight Quantization of
Large Language Models" (ICLR 2024). Where all weights of one input channel share scales, an outlier
among the channels cannot spoil its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from engines.quantize.block import Block
from engines.quantize.layers import Dim, Grid, Grouped, QuantizedLayer
from engines.quantize.method import NoGradients, Uses
from engines.quantize.methods.curvature import Curvature, curvatures
from engines.quantize.methods.gptq import gptq_grouped
from engines.quantize.methods.grid import Search, cost_of, note_groups, round_weight
from engines.quantize.methods.parts import Inspected, find_parts, inspected, sample


@dataclass(frozen=True)
class AdaDim(NoGradients):
    """Round to nearest, or GPTQ, along the better dimension of every layer.

    The published GPTQ-ada compares the dimensions by rounding to nearest and runs GPTQ along the
    better one. As GPTQ makes up for much of what rounding loses, that is not always the better one
    for it; here both are made the way they will be used, and compared so.

    Attributes:
        base: what rounds.
        search: how ranges are found.
        damping: of GPTQ's Hessians.
        tokens: how many the two dimensions are compared on.
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
        few = sample(block, self.tokens)
        parts = [[path for path in part.paths if path in grids] for part in find_parts(block)]
        part_of = {part[0]: part for part in parts if part}
        made: dict[str, QuantizedLayer] = {}
        along: list[str] = []
        with block.restored(grids):
            judge: Inspected | None = None
            for path, curvature in self._in_order(block, parts):
                block.progress(len(made) / len(grids), path)
                if judge is None or path in part_of:
                    judge = Inspected(few, inspected(block, part_of[path]))
                layer = self._better(block, path, grids[path], curvature, judge)
                # Later layers are judged with this one rounded.
                block.weight(path).copy_(layer.dequantize())
                made[path] = layer
                if layer.dim == "out":
                    along.append(path)
        if along:
            block.note(f"Groups run along the outputs in {block.name}: {', '.join(along)}")
        return made

    def _in_order(
        self, block: Block, parts: Sequence[Sequence[str]]
    ) -> Iterator[tuple[str, Curvature | None]]:
        paths = [path for part in parts for path in part]
        if self.base == "gptq":
            yield from curvatures(block, paths, damping=self.damping)
        else:
            yield from ((path, None) for path in paths)

    def _better(
        self, block: Block, path: str, grid: Grid, curvature: Curvature | None, judge: Inspected
    ) -> Grouped:
        """The dimension with the lower error of what `judge` looks at."""
        whole = block.weight(path).clone()
        along_inputs = self._rounded(block, whole, grid, "in", curvature)
        if not judge.reached:
            if self.base == "rtn":
                block.note(
                    f"{block.name}.{path} has the usual groups: no calibration token reached it"
                )
            return along_inputs
        along_outputs = self._rounded(block, whole, grid, "out", curvature)
        errors: list[float] = []
        for layer in (along_inputs, along_outputs):
            block.weight(path).copy_(layer.dequantize())
            errors.append(judge.error())
        return along_inputs if errors[0] <= errors[1] else along_outputs

    def _rounded(
        self, block: Block, weight: Tensor, grid: Grid, dim: Dim, curvature: Curvature | None
    ) -> Grouped:
        if curvature is None:
            return round_weight(weight, grid, dim=dim, cost=cost_of(self.search))
        return gptq_grouped(weight, curvature, grid, dim=dim, search=self.search, check=block.check)
