"""EANet, the noise network of EDiffSR: a NAFNet that is told the time; the authors' tensor names.

It sees x_t - μ and μ at the large picture's size. Channel attention takes means over the whole
input, so what it gives depends on the tile: run it on tiles of one size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, pad

from engines.superres.ediffsr.sde import IrSde

_SQUEEZE = 16
_EPSILON = 1e-5
_RESIDUAL = 0.035  # standard deviation of x_0 - μ that the small networks are set up for


class _TimeWaves(nn.Module):
    """(B,) -> (B, width): sines, then cosines, at width/2 frequencies from 1 down to 1e-4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.waves = width // 2

    def forward(self, t: Tensor) -> Tensor:
        steps = torch.arange(self.waves, dtype=torch.float32, device=t.device)
        angles = t.float()[:, None] * torch.exp(-math.log(10_000.0) * steps / (self.waves - 1))
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class _Gate(nn.Module):
    """The product of both halves of the channels."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return first * second


class _ChannelNorm(nn.Module):
    """Norm over the channels of each pixel, with a gain and no shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        gain = self.g.flatten()
        return layer_norm(x.permute(0, 2, 3, 1), gain.shape, gain, None, _EPSILON).permute(
            0, 3, 1, 2
        )


class _ChannelAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // _SQUEEZE, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // _SQUEEZE, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


class _Enhance(nn.Module):
    """The paper's prior enhancement: a residual block with channel attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rcab = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            _ChannelAttention(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.rcab(x)


class _Block(nn.Module):
    """NAFNet's block whose two norms are scaled and shifted by the time."""

    def __init__(self, channels: int, time_width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(_Gate(), nn.Linear(time_width // 2, 4 * channels))
        self.norm1 = _ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.norm2 = _ChannelNorm(channels)
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gate = _Gate()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        shift, scale, shift2, scale2 = self.mlp(time)[:, :, None, None].chunk(4, dim=1)
        h = self.norm1(x) * (1.0 + scale) + shift
        h = self.gate(self.conv2(self.conv1(h)))
        x = x + self.conv3(h * self.sca(h)) * self.beta
        h = self.norm2(x) * (1.0 + scale2) + shift2
        return x + self.conv5(self.gate(self.conv4(h))) * self.gamma


class _Level(nn.Sequential):
    def forward(self, x: Tensor, time: Tensor) -> Tensor:  # type: ignore[override]
        for block in self:
            x = block(x, time)
        return x


class EaNet(nn.Module):
    """Estimate of the noise in x_t.

    Args:
        width: of the first level, a multiple of 16; it doubles at every level.
        enc_blk_nums: blocks of each level on the way down.
        middle_blk_num: blocks at the lowest level.
        dec_blk_nums: blocks of each level on the way up.
        anchored: our small networks give the large picture as a step from x_t and μ, weighted as
            Karras et al. (NeurIPS 2022, table 1) derive for noise of this size; a residual of
            unit size is then asked of the layers at every time. The noise follows from it.
    """

    def __init__(
        self,
        width: int = 64,
        enc_blk_nums: Sequence[int] = (14, 1, 1, 1),
        middle_blk_num: int = 1,
        dec_blk_nums: Sequence[int] = (1, 1, 1, 1),
        anchored: bool = False,
    ) -> None:
        super().__init__()
        time_width = 4 * width
        self.multiple = 2 ** len(enc_blk_nums)
        self.sde = IrSde()
        self.time_mlp = nn.Sequential(
            _TimeWaves(width),
            nn.Linear(width, 2 * time_width),
            _Gate(),
            nn.Linear(time_width, time_width),
        )
        self.intro = nn.Conv2d(6, width, 3, padding=1)
        self.enhance = _Enhance(width)
        self.ending = nn.Conv2d(width, 3, 3, padding=1)

        def level(channels: int, blocks: int) -> _Level:
            return _Level(*(_Block(channels, time_width) for _ in range(blocks)))

        widths = [width << depth for depth in range(len(enc_blk_nums) + 1)]
        self.encoders = nn.ModuleList(map(level, widths, enc_blk_nums))
        self.downs = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, stride=2) for w in widths[:-1])
        self.middle_blks = level(widths[-1], middle_blk_num)
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, 2 * w, 1, bias=False), nn.PixelShuffle(2))
            for w in reversed(widths[1:])
        )
        self.decoders = nn.ModuleList(map(level, reversed(widths[:-1]), dec_blk_nums))
        self.anchor = nn.Parameter(torch.ones(1)) if anchored else None

    def forward(self, x: Tensor, mean: Tensor, t: Tensor) -> Tensor:
        """(B, 3, H, W) x_t and μ in 0..1, (B,) times 1..T -> the noise, (B, 3, H, W)."""
        if self.anchor is None:
            return self._layers(x - mean, mean, t)
        kept, spread = self.sde.at(t)
        return (x - mean - kept * (self.clean(x, mean, t) - mean)) / spread

    def clean(self, x: Tensor, mean: Tensor, t: Tensor) -> Tensor:
        """The estimate of x_0; arguments as of `forward`."""
        kept, spread = self.sde.at(t)
        if self.anchor is None:
            return mean + (x - mean - spread * self._layers(x - mean, mean, t)) / kept
        skip, size, _ = self._weights(kept, spread)
        return mean + skip * (x - mean) + size * self.residual(x, mean, t)

    def residual(self, x: Tensor, mean: Tensor, t: Tensor) -> Tensor:
        """What the layers of an anchored network give: about unit size at every time."""
        _, _, into = self._weights(*self.sde.at(t))
        assert self.anchor is not None
        return self.anchor * self._layers(into * (x - mean), mean, t)

    def wanted(self, clean: Tensor, x: Tensor, mean: Tensor, t: Tensor) -> Tensor:
        """What `residual` should give, for training."""
        skip, size, _ = self._weights(*self.sde.at(t))
        return (clean - mean - skip * (x - mean)) / size

    @staticmethod
    def _weights(kept: Tensor, spread: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        total = (kept.square() * _RESIDUAL**2 + spread.square()).sqrt()
        return kept * _RESIDUAL**2 / total.square(), _RESIDUAL * spread / total, 1.0 / total

    def _layers(self, apart: Tensor, mean: Tensor, t: Tensor) -> Tensor:
        height, width = mean.shape[-2:]
        time = self.time_mlp(t)
        h = torch.cat([apart, mean], dim=1)
        h = self.intro(pad(h, (0, -width % self.multiple, 0, -height % self.multiple)))
        h = h + self.enhance(h)
        kept: list[Tensor] = []
        for blocks, down in zip(self.encoders, self.downs, strict=True):
            h = blocks(h, time)
            kept.append(h)
            h = down(h)
        h = self.middle_blks(h, time)
        for blocks, up in zip(self.decoders, self.ups, strict=True):
            h = blocks(up(h) + kept.pop(), time)
        return self.ending(h)[..., :height, :width]
