"""The U-Net of guided diffusion (ADM; Dhariwal and Nichol, NeurIPS 2021), by the authors' names.

Networks of diffusers' `UNet2DModel` are the same but for a few settings, so they run here as well
(`diffusers_names`). Files trained in half precision need their norms in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pad, scaled_dot_product_attention, silu

from engines.superres.reddiff.settings import PriorSettings


class Norm(nn.GroupNorm):
    """Group norm that is worked out in float32 whatever its input is."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) -> the same, of the same type."""
        return super().forward(input.float()).to(input.dtype)


def time_waves(t: Tensor, width: int, settings: PriorSettings) -> Tensor:
    """(B,) times from 0 on -> (B, width) cosines and sines at width/2 frequencies from 1 down."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    waves = torch.exp(-math.log(10_000.0) * steps / (half - settings.wave_shift))
    angles = t.float()[:, None] * waves
    both = [angles.sin(), angles.cos()] if settings.sine_first else [angles.cos(), angles.sin()]
    return torch.cat(both, dim=1)


def _zeroed(layer: nn.Conv1d | nn.Conv2d) -> nn.Module:
    """A layer that gives nothing before it is trained."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class ResidualBlock(nn.Module):
    """Two convolutions that are told the time; `change` halves or doubles the size at the first."""

    def __init__(
        self, channels_in: int, channels: int, settings: PriorSettings, change: str = ""
    ) -> None:
        super().__init__()
        self._film, self._change = settings.film, change
        wide = 2 * channels if settings.film else channels
        self.in_layers = nn.Sequential(
            Norm(settings.groups, channels_in, settings.epsilon),
            nn.SiLU(),
            nn.Conv2d(channels_in, channels, 3, padding=1),
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(4 * settings.channels, wide))
        self.out_layers = nn.Sequential(
            Norm(settings.groups, channels, settings.epsilon),
            nn.SiLU(),
            nn.Identity(),  # the authors' dropout
            _zeroed(nn.Conv2d(channels, channels, 3, padding=1)),
        )
        self.skip_connection = (
            nn.Identity() if channels == channels_in else nn.Conv2d(channels_in, channels, 1)
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, channels_in, h, w), (B, 4·settings.channels) -> (B, channels, h', w')."""
        h = silu(self.in_layers[0](x))
        if self._change:
            h, x = (_changed(one, self._change) for one in (h, x))
        h = self.in_layers[2](h)
        told = self.emb_layers(time)[:, :, None, None].to(h.dtype)
        if self._film:
            scale, shift = told.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1.0 + scale) + shift
        else:
            h = self.out_layers[0](h + told)
        return self.skip_connection(x) + self.out_layers[3](silu(h))


def _changed(x: Tensor, change: str) -> Tensor:
    return avg_pool2d(x, 2) if change == "halve" else interpolate(x, scale_factor=2.0)


class AttentionBlock(nn.Module):
    """Every place looks at all others; queries, keys and values lie head by head."""

    def __init__(self, channels: int, settings: PriorSettings, normed: bool = True) -> None:
        super().__init__()
        self._head = settings.head_channels or channels
        norm = Norm(settings.groups, channels, settings.epsilon)
        self.norm = norm if normed else nn.Identity()
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = _zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor, _time: Tensor) -> Tensor:
        """(B, channels, h, w) -> the same."""
        flat = x.flatten(2)
        qkv = self.qkv(self.norm(flat))
        heads = qkv.reshape(len(x), -1, 3, self._head, flat.shape[2])
        query, key, value = heads.transpose(-1, -2).unbind(dim=2)
        found = scaled_dot_product_attention(query, key, value)
        found = found.transpose(-1, -2).reshape(flat.shape)
        return x + self.proj_out(found).reshape(x.shape)


class Halve(nn.Module):
    """A convolution of stride 2."""

    def __init__(self, channels: int, settings: PriorSettings) -> None:
        super().__init__()
        self._pad_end = settings.pad_end
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=0 if self._pad_end else 1)

    def forward(self, x: Tensor, _time: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, channels, h/2, w/2)."""
        return self.op(pad(x, (0, 1, 0, 1)) if self._pad_end else x)


class Double(nn.Module):
    """Every pixel four times, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, _time: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, channels, 2h, 2w)."""
        return self.conv(interpolate(x, scale_factor=2.0))


class AdmUnet(nn.Module):
    """The network; `settings` say all of it."""

    def __init__(self, settings: PriorSettings) -> None:
        super().__init__()
        self.settings = settings
        channels, levels = settings.channels, len(settings.mult)
        wide = 4 * channels
        self.time_embed = nn.Sequential(nn.Linear(channels, wide), nn.SiLU(), nn.Linear(wide, wide))
        now = settings.width(0)
        kept = [now]
        down: list[nn.Module] = [nn.ModuleList([nn.Conv2d(3, now, 3, padding=1)])]
        for level in range(levels):
            for _ in range(settings.blocks):
                layers = self._block(now, level)
                now = settings.width(level)
                down.append(layers)
                kept.append(now)
            if level + 1 < levels:
                halve = (
                    ResidualBlock(now, now, settings, "halve")
                    if settings.updown
                    else Halve(now, settings)
                )
                down.append(nn.ModuleList([halve]))
                kept.append(now)
        self.input_blocks = nn.ModuleList(down)
        self.middle_block = nn.ModuleList([
            ResidualBlock(now, now, settings),
            AttentionBlock(now, settings, settings.middle_norm),
            ResidualBlock(now, now, settings),
        ])  # fmt: skip
        up: list[nn.Module] = []
        for level in reversed(range(levels)):
            for number in range(settings.blocks + 1):
                layers = self._block(now + kept.pop(), level)
                now = settings.width(level)
                if level and number == settings.blocks:
                    layers.append(
                        ResidualBlock(now, now, settings, "double")
                        if settings.updown
                        else Double(now)
                    )
                up.append(layers)
        self.output_blocks = nn.ModuleList(up)
        self.out = nn.Sequential(
            Norm(settings.groups, now, settings.epsilon),
            nn.SiLU(),
            _zeroed(nn.Conv2d(now, settings.out, 3, padding=1)),
        )

    def _block(self, channels_in: int, level: int) -> nn.ModuleList:
        channels = self.settings.width(level)
        layers = nn.ModuleList([ResidualBlock(channels_in, channels, self.settings)])
        if self.settings.attention[level]:
            layers.append(AttentionBlock(channels, self.settings))
        return layers

    def forward(self, x: Tensor, t: Tensor, check: Callable[[], None] = lambda: None) -> Tensor:
        """What the network gives of noisy pictures.

        Args:
            x: (B, 3, h, w) with values about -1..1; sides are multiples of `settings.multiple`.
            t: (B,) times, 0 to the schedule's steps - 1.
            check: called before every block, to stop between them.

        Returns:
            (B, settings.out, h, w).
        """
        waves = time_waves(t, self.settings.channels, self.settings)
        time = self.time_embed(waves)
        kept: list[Tensor] = []
        h = x

        def through(block: nn.Module, h: Tensor) -> Tensor:
            check()
            assert isinstance(block, nn.ModuleList)
            for layer in block:
                h = layer(h) if isinstance(layer, nn.Conv2d) else layer(h, time)
            return h

        for block in self.input_blocks:
            h = through(block, h)
            kept.append(h)
        h = through(self.middle_block, h)
        for block in self.output_blocks:
            h = through(block, torch.cat([h, kept.pop()], dim=1))
        return self.out(h)
