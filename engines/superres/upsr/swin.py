"""Attention in windows, as the U-Net of UPSR uses it; tensor names are the authors'.

Features are (B, C, H, W), norms are GroupNorm and the MLP is two 1x1 convolutions, in place of the
LayerNorm and the linear layers of the Swin Transformer (ICCV 2021).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

_GROUPS = 32
_APART = -100.0  # logit between pixels that only the cyclic shift has made neighbours


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm of 32 groups."""
    return nn.GroupNorm(_GROUPS, channels)


def to_windows(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) -> (B * H/window * W/window, window², C), rows of windows first."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window, window, width // window, window, channels)
    return x.transpose(2, 3).reshape(-1, window * window, channels)


def from_windows(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """The inverse of `to_windows`: (B, H, W, C)."""
    channels = windows.shape[-1]
    x = windows.view(-1, height // window, width // window, window, window, channels)
    return x.transpose(2, 3).reshape(-1, height, width, channels)


def shift_mask(height: int, width: int, window: int, shift: int) -> Tensor:
    """What to add to the logits of every window after a cyclic shift: (windows, n, n), n = window².

    It should part the pixels that only the shift has made neighbours. The published networks were
    trained with a mask that parts the left and right halves of the lowest windows and nothing
    else (its regions are drawn along one axis alone, and its windows are turned over), so this is
    that mask.
    """
    mask = torch.zeros(height // window, width // window, window**2, window**2)
    right = torch.arange(window**2) % window >= window - shift
    mask[-1] = (right[:, None] != right[None, :]).float() * _APART
    return mask.flatten(0, 1)


def position_index(window: int) -> Tensor:
    """(n, n) int64: row of the bias table for each pair of places in a window, n = window²."""
    places = torch.stack(
        torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    ).flatten(1)
    apart = places[:, :, None] - places[:, None, :] + (window - 1)
    return apart[0] * (2 * window - 1) + apart[1]


class WindowAttention(nn.Module):
    """Attention inside windows with a learned bias by relative place."""

    relative_position_index: Tensor

    def __init__(self, channels: int, window: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(
            0.02 * torch.randn((2 * window - 1) ** 2, heads)
        )
        self.register_buffer("relative_position_index", position_index(window))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """(B * m, n, C) -> the same; `mask` is (m, n, n)."""
        count, places, channels = windows.shape
        qkv = self.qkv(windows).view(count, places, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        bias = bias.view(places, places, -1).permute(2, 0, 1).to(qkv.dtype)
        logits = (qkv[0] * qkv.shape[-1] ** -0.5) @ qkv[1].transpose(-2, -1) + bias
        if mask is not None:
            parted = logits.view(-1, len(mask), self.heads, places, places)
            logits = (parted + mask[:, None].to(logits)).view_as(logits)
        out = logits.softmax(dim=-1) @ qkv[2]
        return self.proj(out.transpose(1, 2).reshape(count, places, channels))


class _Mlp(nn.Module):
    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, ratio * channels, 1)
        self.fc2 = nn.Conv2d(ratio * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(gelu(self.fc1(x)))


class _SwinBlock(nn.Module):
    """Window attention, shifted by half a window where `shift` is not 0, then the MLP."""

    attn_mask: Tensor

    def __init__(
        self, channels: int, heads: int, window: int, shift: int, ratio: int, nominal: int
    ) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = group_norm(channels)
        self.attn = WindowAttention(channels, window, heads)
        self.norm2 = group_norm(channels)
        self.mlp = _Mlp(channels, ratio)
        if shift:  # the authors' files hold the mask of their training size
            self.register_buffer("attn_mask", shift_mask(nominal, nominal, window, shift))
        self._masks: dict[tuple[int, int], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        y = self.norm1(x).permute(0, 2, 3, 1)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), dims=(1, 2))
        windows = self.attn(to_windows(y, self.window), self._mask(height, width))
        y = from_windows(windows, self.window, height, width)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), dims=(1, 2))
        x = x + y.permute(0, 3, 1, 2)
        return x + self.mlp(self.norm2(x))

    def _mask(self, height: int, width: int) -> Tensor | None:
        """The mask of this size; the last size's is kept, as all tiles have one size."""
        if not self.shift:
            return None
        if (height, width) not in self._masks:
            made = shift_mask(height, width, self.window, self.shift)
            self._masks = {(height, width): made.to(self.attn_mask)}
        return self._masks[height, width]


class _Project(nn.Module):
    """A 1x1 convolution (its own module for the tensor names)."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels_in, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class SwinLayer(nn.Module):
    """1x1 convolution, Swin blocks, 1x1 convolution: it replaces its input, without a skip.

    Args:
        channels: of input and output.
        embed: width inside.
        heads: of the attention; divides `embed`.
        window: side of a window in pixels; sides of the input are multiples of it.
        depth: number of blocks; every second one is shifted by half a window, but only where
            `nominal` is larger than a window, whatever the input's size (as the authors' code).
        ratio: width of the MLP over `embed`.
        nominal: side of the features in training.
    """

    def __init__(
        self, channels: int, embed: int, heads: int, window: int, depth: int, ratio: int,
        nominal: int,
    ) -> None:  # fmt: skip
        super().__init__()
        shift = window // 2 if nominal > window else 0
        self.patch_embed = _Project(channels, embed)
        self.blocks = nn.ModuleList(
            _SwinBlock(embed, heads, window, shift if number % 2 else 0, ratio, nominal)
            for number in range(depth)
        )
        self.patch_unembed = _Project(embed, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same."""
        x = self.patch_embed(x)
        for block in self.blocks:
            x = block(x)
        return self.patch_unembed(x)
