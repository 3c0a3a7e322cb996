"""The U-Net of UPSR: it works at the small picture's size and gives the large picture.

Pictures are pixel-unshuffled by 4, so x_t has 48 channels and the condition (ŷ, then ȳ) 96. Tensor
names are the authors', who have them from guided-diffusion and ResShift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pixel_shuffle, silu

from engines.superres.upsr.swin import SwinLayer, WindowAttention, group_norm

SCALE = 4


def time_embedding(t: Tensor, width: int) -> Tensor:
    """(B,) -> (B, width): cosines, then sines, of t at width/2 frequencies from 1 down to 1e-4."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t.float()[:, None] * torch.exp(-math.log(10_000.0) * steps / half)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class ResidualBlock(nn.Module):
    """Two convolutions; the time scales and shifts between them."""

    def __init__(self, channels_in: int, channels: int, time_width: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            group_norm(channels_in), nn.SiLU(), nn.Conv2d(channels_in, channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_width, 2 * channels))
        self.out_layers = nn.Sequential(
            group_norm(channels),
            nn.SiLU(),
            nn.Identity(),  # the authors' dropout, of rate 0
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.skip_connection = (
            nn.Identity() if channels == channels_in else nn.Conv2d(channels_in, channels, 1)
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, channels_in, h, w), (B, time_width) -> (B, channels, h, w)."""
        scale, shift = self.emb_layers(time)[:, :, None, None].chunk(2, dim=1)
        h = self.out_layers[0](self.in_layers(x)) * (1.0 + scale) + shift
        return self.skip_connection(x) + self.out_layers[3](silu(h))


class _Halve(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class _Double(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(interpolate(x, scale_factor=2.0, mode="nearest"))


class _Stage(nn.Sequential):
    """Modules in a row, of which the residual blocks also get the time."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:  # type: ignore[override]
        for module in self:
            x = module(x, time) if isinstance(module, ResidualBlock) else module(x)
        return x


class UpsrUnet(nn.Module):
    """Estimate of the large picture from a noisy one.

    Args:
        image_size: side of the features in training; it settles where attention windows shift.
        model_channels: width of the first level, a multiple of 32.
        channel_mult: width of each level over that.
        num_res_blocks: residual blocks a level.
        swin_depth: Swin blocks after the first residual block of a level.
        swin_embed_dim: their width, a multiple of 32.
        num_head_channels: width of an attention head.
        window_size: side of an attention window.
        mlp_ratio: width of the Swin blocks' MLP over `swin_embed_dim`.
        num_feat: width of the head, which works at the large picture's size.
        anchored: our small networks add their output to a learned multiple of ŷ; the published
            one makes the picture itself.
    """

    def __init__(
        self,
        image_size: int = 64,
        model_channels: int = 160,
        channel_mult: Sequence[int] = (1, 2, 2, 4),
        num_res_blocks: int = 2,
        swin_depth: int = 2,
        swin_embed_dim: int = 192,
        num_head_channels: int = 32,
        window_size: int = 8,
        mlp_ratio: int = 4,
        num_feat: int = 128,
        anchored: bool = False,
    ) -> None:
        super().__init__()
        self.width = model_channels
        self.multiple = window_size * 2 ** (len(channel_mult) - 1)
        time_width = 4 * model_channels

        def swin(channels: int, level: int) -> SwinLayer:
            heads = swin_embed_dim // num_head_channels
            return SwinLayer(
                channels, swin_embed_dim, heads, window_size, swin_depth, mlp_ratio,
                image_size // 2**level,
            )  # fmt: skip

        self.time_embed = nn.Sequential(
            nn.Linear(model_channels, time_width), nn.SiLU(), nn.Linear(time_width, time_width)
        )
        pixels = 3 * SCALE**2
        stages = [_Stage(nn.Conv2d(3 * pixels, model_channels, 3, padding=1))]
        channels, kept = model_channels, [model_channels]
        for level, times in enumerate(channel_mult):
            for number in range(num_res_blocks):
                stage = _Stage(ResidualBlock(channels, times * model_channels, time_width))
                channels = times * model_channels
                if number == 0:
                    stage.append(swin(channels, level))
                stages.append(stage)
                kept.append(channels)
            if level + 1 < len(channel_mult):
                stages.append(_Stage(_Halve(channels)))
                kept.append(channels)
        self.input_blocks = nn.ModuleList(stages)
        self.middle_block = _Stage(
            ResidualBlock(channels, channels, time_width),
            swin(channels, len(channel_mult) - 1),
            ResidualBlock(channels, channels, time_width),
        )
        stages = []
        for level, times in reversed(list(enumerate(channel_mult))):
            for number in range(num_res_blocks + 1):
                block = ResidualBlock(channels + kept.pop(), times * model_channels, time_width)
                channels = times * model_channels
                stage = _Stage(block)
                if number == 0:
                    stage.append(swin(channels, level))
                if level and number == num_res_blocks:
                    stage.append(_Double(channels))
                stages.append(stage)
        self.output_blocks = nn.ModuleList(stages)
        self.conv_before_upsample = nn.Sequential(
            nn.Conv2d(channels, num_feat, 3, padding=1), nn.LeakyReLU(0.01)
        )
        self.conv_up1 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_up2 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat, 3, 3, padding=1)
        self.anchor = nn.Parameter(torch.ones(1)) if anchored else None

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """The estimate of x_0.

        Args:
            x: (B, 48, h, w) x_t over its standard deviation; h and w multiples of `multiple`.
            t: (B,) index of the step, 0..4 with five steps.
            condition: (B, 96, h, w) ŷ and ȳ in -1..1, each unshuffled by 4.

        Returns:
            (B, 3, 4h, 4w) in about -1..1.
        """
        time = self.time_embed(time_embedding(t, self.width))
        h = torch.cat([x, condition], dim=1)
        kept: list[Tensor] = []
        for stage in self.input_blocks:
            h = stage(h, time)
            kept.append(h)
        h = self.middle_block(h, time)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, kept.pop()], dim=1), time)
        h = self.conv_before_upsample(h)
        for conv in (self.conv_up1, self.conv_up2):
            h = leaky_relu(conv(interpolate(h, scale_factor=2.0, mode="nearest")), 0.2)
        out = self.conv_last(leaky_relu(self.conv_hr(h), 0.2))
        if self.anchor is not None:
            estimate = pixel_shuffle(condition[:, : condition.shape[1] // 2], SCALE)
            out = out + self.anchor * estimate
        return out

    def initialise(self, generator: torch.Generator) -> None:
        """Draw starting weights for training; residual branches and the output start small."""
        for name, module in self.named_modules():
            if isinstance(module, WindowAttention):
                nn.init.normal_(module.relative_position_bias_table, 0.0, 0.02, generator)
            if not isinstance(module, nn.Conv2d | nn.Linear):
                continue
            with torch.no_grad():
                fan = module.weight[0].numel()
                module.weight.normal_(0.0, math.sqrt(1.0 / fan), generator=generator)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
                if name.endswith(("out_layers.3", "attn.proj", "mlp.fc2", "conv_last")):
                    module.weight.mul_(0.1)
