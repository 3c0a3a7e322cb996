"""CLIPSep's U-Net, with the tensor names of the authors' checkpoints."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

_WIDEST = 8  # times the first level's channels


class UNet(nn.Module):
    """Maps (B, inputs, F, T) -> (B, channels, F, T); F and T are multiples of 2^layers.

    Args:
        inputs: maps that come in.
        channels: maps that go out.
        layers: levels, at least 5; each halves frequency and time.
        ngf: channels of the first level.
    """

    def __init__(self, inputs: int, channels: int, layers: int, ngf: int) -> None:
        super().__init__()
        widths = [ngf * min(2**level, _WIDEST) for level in range(layers)]
        block: _Level | None = None
        for level in range(layers - 1, 0, -1):
            block = _Level(widths[level - 1], widths[level], block)
        assert block is not None
        self.stride = 2**layers
        self.bn0 = nn.BatchNorm2d(inputs)
        self.unet_block = _Outermost(inputs, widths[0], channels, block)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.unet_block(self.bn0(x))


class _Outermost(nn.Module):
    def __init__(self, inputs: int, width: int, outputs: int, inner: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(
            _halving(inputs, width),
            inner,
            nn.ReLU(),
            _Doubling(),
            nn.Conv2d(2 * width, outputs, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class _Level(nn.Module):
    """A level with all that lies beneath it; without `inner` it is the innermost."""

    def __init__(self, outer: int, width: int, inner: nn.Module | None) -> None:
        super().__init__()
        down: list[nn.Module] = [nn.LeakyReLU(0.2), _halving(outer, width)]
        if inner is not None:
            down += [nn.BatchNorm2d(width), inner]
        up = nn.Conv2d(width if inner is None else 2 * width, outer, 3, padding=1, bias=False)
        self.model = nn.Sequential(*down, nn.ReLU(), _Doubling(), up, nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.model(x)], dim=1)


class _Doubling(nn.Upsample):
    def __init__(self) -> None:
        super().__init__(scale_factor=2, mode="bilinear", align_corners=True)


def _halving(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)


def begin(module: nn.Module) -> None:
    """Starting weights as the authors draw them; for `nn.Module.apply`."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.001)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(cast("Tensor", module.weight), 1.0, 0.02)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.0001)
