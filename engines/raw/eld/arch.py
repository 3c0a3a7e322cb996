"""The plain U-Net of ELD (and of "Learning to See in the Dark"), with the tensor names of both.

Five levels of two 3x3 convolutions with LeakyReLU(0.2), maxima of 2x2 on the way down, transposed
convolutions on the way up, no skip around the whole. It takes four packed planes, amplified to the
brightness that was wanted, and gives them back clean. There is no normalisation, so tiles agree
with the whole beyond the receptive field.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PLANES = 4
_LEVELS = 5
_SLOPE = 0.2


class SeeInDark(nn.Module):
    """The U-Net.

    Args:
        nf: width of the first level; it doubles at every level (32 as published, 7.76 M weights).
    """

    multiple = 1 << (_LEVELS - 1)

    def __init__(self, nf: int = 32) -> None:
        super().__init__()
        widths = [nf << level for level in range(_LEVELS)]
        before = PLANES
        for number, width in enumerate(widths, start=1):
            self._pair(number, before, width)
            before = width
        for number, width in enumerate(reversed(widths[:-1]), start=_LEVELS + 1):
            self.add_module(f"upv{number}", nn.ConvTranspose2d(2 * width, width, 2, stride=2))
            self._pair(number, 2 * width, width)
        self.add_module(f"conv{2 * _LEVELS}_1", nn.Conv2d(nf, PLANES, 1))

    def _pair(self, number: int, width_in: int, width: int) -> None:
        self.add_module(f"conv{number}_1", nn.Conv2d(width_in, width, 3, padding=1))
        self.add_module(f"conv{number}_2", nn.Conv2d(width, width, 3, padding=1))

    @property
    def receptive_radius(self) -> int:
        """Packed pixels beyond which the input has no influence on an output pixel."""
        convolutions = sum(
            2 * (2 if level < _LEVELS - 1 else 1) << level for level in range(_LEVELS)
        )
        return convolutions + 2 * (self.multiple - 1)  # pooling, and its reverse

    def forward(self, x: Tensor) -> Tensor:
        """Denoise (B, 4, h, w) amplified planes in [0, 1]; h and w are multiples of 16."""
        part = self.get_submodule

        def both(h: Tensor, number: int) -> Tensor:
            for step in (1, 2):
                h = functional.leaky_relu(part(f"conv{number}_{step}")(h), _SLOPE)
            return h

        skips: list[Tensor] = []
        h = x
        for number in range(1, _LEVELS + 1):
            h = both(h, number)
            if number < _LEVELS:
                skips.append(h)
                h = functional.max_pool2d(h, 2)
        for number in range(_LEVELS + 1, 2 * _LEVELS):
            h = both(torch.cat([part(f"upv{number}")(h), skips.pop()], dim=1), number)
        return part(f"conv{2 * _LEVELS}_1")(h)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw starting weights (He's, for this slope)."""
        gain = (2.0 / (1.0 + _SLOPE**2)) ** 0.5
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                inputs = (
                    module.weight[0].numel()
                    if isinstance(module, nn.Conv2d)
                    else module.weight.shape[0]
                )
                with torch.no_grad():
                    module.weight.normal_(0.0, gain / inputs**0.5, generator=generator)
                    if module.bias is not None:
                        module.bias.zero_()
