"""What every quantization method is: a block in, quantized layers out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol

from torch import Tensor

from engines.quantize.block import Block
from engines.quantize.layers import Grid, QuantizedLayer

Uses = Literal["weights", "activations", "gradients"]


class Method(Protocol):
    """One way to choose codes; instances hold their own settings and no state."""

    name: ClassVar[str]  # as in the engine's id: "awq"
    uses: ClassVar[Uses]  # what has to be there besides the weights

    def see_gradient(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """What the method keeps of one linear layer's gradient, found as `Block.found` later.

        Args:
            weight: (out, in) float32.
            gradient: (out, in) float32, of the language-model loss of the calibration text.
        """
        ...

    def quantize(self, block: Block, grids: Mapping[str, Grid]) -> dict[str, QuantizedLayer]:
        """Choose the codes of one block.

        A method of "activations" should sweep the block before it writes to it: that run is then
        also the one that takes the calibration text to the next block.

        Args:
            block: in full precision; other parameters than the weights of `grids` may be changed
                (AWQ's scales are folded into the norms), what flows through them too.
            grids: path of a linear layer in the block -> how finely to round it.

        Returns:
            A layer for every path in `grids`. The caller copies their weights into the block.

        Raises:
            Cancelled: passed through from `Block.check`.
        """
        ...


class NoGradients:
    """Base of the methods that look at no gradient."""

    def see_gradient(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """Never called, as `Method.uses` says."""
        raise NotImplementedError
