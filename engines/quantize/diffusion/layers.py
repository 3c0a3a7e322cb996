"""What a layer of a quantized diffusion model is: codes of its weight, steps of its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from engines.base import UserError
from engines.quantize.layers import Grouped, QuantizedLayer


@dataclass(frozen=True)
class Stepped(QuantizedLayer):
    """A weight in codes with a scale a row, and the grid that its input is rounded to.

    The input's grid may differ from sampling step to sampling step, as EfficientDM has it:
    x -> (clamp(round(x / scale) + zero, 0, 2^bits - 1) - zero) * scale with scale and zero of the
    step.

    Attributes:
        weight: (out, rest) codes; `rest` is all of a convolution's kernel.
        weight_shape: as the module has it, (out, in) or (out, in, height, width).
        activation_bits: of the input; 16 leaves it as it is.
        scale: (steps,) float32; one entry holds for all steps.
        zero: (steps,) uint8.
    """

    kind: ClassVar[str] = "stepped"

    weight: Grouped
    weight_shape: tuple[int, ...]
    activation_bits: int
    scale: Tensor
    zero: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(out, rest)."""
        return self.weight.shape

    def dequantize(self) -> Tensor:
        """(out, rest) float32."""
        return self.weight.dequantize()

    def kernel(self) -> Tensor:
        """The weight in the module's own shape, float32."""
        return self.dequantize().reshape(self.weight_shape)

    def prepare_input(self, x: Tensor, index: Tensor | int = 0) -> Tensor:
        """The input as the layer sees it.

        Args:
            x: (B, ...), batch first.
            index: of the sampling step, one for all or (B,) int64.
        """
        if self.activation_bits >= 16:
            return x
        index = index if len(self.scale) > 1 else 0
        scale, zero = self.scale[index].to(x.device), self.zero[index].to(x.device)
        if scale.ndim:
            shape = (-1, *[1] * (x.ndim - 1))
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        return rounded(x, scale, zero.float(), self.activation_bits)

    def tensors(self) -> dict[str, Tensor]:
        """See `QuantizedLayer`."""
        stored = self.weight.tensors()
        if self.activation_bits < 16:
            stored |= {"input_scale": self.scale, "input_zero": self.zero}
        return stored

    def settings(self) -> dict[str, Any]:
        """See `QuantizedLayer`."""
        return self.weight.settings() | {
            "weight_shape": list(self.weight_shape),
            "activation_bits": self.activation_bits,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """See `QuantizedLayer`."""
        weight = Grouped.from_tensors(tensors, settings)
        shape = tuple(int(side) for side in settings["weight_shape"])
        bits = int(settings["activation_bits"])
        if shape[0] != weight.shape[0] or torch.Size(shape[1:]).numel() != weight.shape[1]:
            raise UserError(f"A quantized weight contradicts itself: {shape}; the file is damaged")
        if bits >= 16:
            return cls(weight, shape, bits, torch.ones(1), torch.zeros(1, dtype=torch.uint8))
        scale, zero = tensors["input_scale"], tensors["input_zero"]
        if scale.ndim != 1 or scale.shape != zero.shape or not bool((scale > 0).all()):
            raise UserError("The steps of an input contradict each other; the file is damaged")
        return cls(weight, shape, bits, scale, zero)


def rounded(x: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
    """`x` on the grid of `scale` and `zero` (floats of whole numbers), which fit its shape.

    Where something is learned, the gradient passes rounding as if it were none, and reaches `x`
    within the range, scale and zero.
    """
    codes = x / scale
    if not (codes.requires_grad or zero.requires_grad):
        return codes.round_().add_(zero).clamp_(0, 2**bits - 1).sub_(zero).mul_(scale)
    return ((straight(codes) + zero).clamp(0, 2**bits - 1) - zero) * scale


def straight(x: Tensor) -> Tensor:
    """`x` rounded, with the gradient of `x`."""
    return x + (x.round() - x).detach()
