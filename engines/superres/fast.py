"""The small fidelity network that ships: one call, exact in tiles.

A plain residual network at the input's resolution; what it adds is shuffled to the output's and
laid over a cubic enlargement, done by a fixed convolution. There is no normalisation and no
pooling, so a tile with a margin of `radius` pixels gives the same pixels as the whole picture. In
UPSR's terms (CVPR 2025) it is the auxiliary regressor g.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pad, pixel_shuffle

_BASE = 5  # taps of the cubic enlargement
_SLOPE = 0.1


class _Block(nn.Module):
    """x + conv(activation(conv(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(leaky_relu(self.first(x), _SLOPE))


class FastNet(nn.Module):
    """(B, 3, h, w) RGB in 0..1 -> (B, 3, s·h, s·w), not clamped.

    Args:
        scale: 2, 3 or 4.
        channels: width of the body.
        blocks: residual blocks of two 3x3 convolutions.
    """

    def __init__(self, scale: int, channels: int = 64, blocks: int = 8) -> None:
        super().__init__()
        self.scale = scale
        self.base = nn.Conv2d(3, 3 * scale**2, _BASE)
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*(_Block(channels) for _ in range(blocks)))
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self._start()

    @property
    def radius(self) -> int:
        """Input pixels beyond a place that its output depends on."""
        return max(2 + 2 * len(self.body), _BASE // 2)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.enlarged(x) + self.detail(x)

    def enlarged(self, x: Tensor) -> Tensor:
        """The cubic part, at the output's size."""
        margin = _BASE // 2
        return pixel_shuffle(self.base(pad(x, (margin,) * 4, mode="replicate")), self.scale)

    def detail(self, x: Tensor) -> Tensor:
        """What is added to the cubic part, at the output's size."""
        features = self.head(x)
        return pixel_shuffle(self.tail(features + self.body(features)), self.scale)

    @torch.no_grad()
    def _start(self) -> None:
        """Read the cubic filters off from single points; start the body small."""
        points = torch.zeros(_BASE**2, 1, 2 * _BASE + 1, 2 * _BASE + 1)
        centre = _BASE
        for tap in range(_BASE**2):
            dy, dx = tap // _BASE - _BASE // 2, tap % _BASE - _BASE // 2
            points[tap, 0, centre + dy, centre + dx] = 1.0
        side = points.shape[-1] * self.scale
        large = interpolate(points, (side, side), mode="bicubic", antialias=True)
        begin = centre * self.scale
        seen = large[:, 0, begin : begin + self.scale, begin : begin + self.scale]
        taps = seen.reshape(_BASE, _BASE, self.scale**2).permute(2, 0, 1)
        self.base.weight.zero_()
        for colour in range(3):
            self.base.weight[colour * self.scale**2 : (colour + 1) * self.scale**2, colour] = taps
        nn.init.zeros_(self.base.bias)  # type: ignore[arg-type]
        self.base.requires_grad_(requires_grad=False)
        for module in (self.head, *self.body.modules()):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=_SLOPE)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        for block in self.body:
            block.second.weight.mul_(0.1)  # type: ignore[operator, union-attr]
        self.tail.weight.mul_(0.1)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]
