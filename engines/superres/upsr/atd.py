"""ATD, the regressor g of UPSR: attention in windows, to a dictionary, and among like pixels.

Adaptive Token Dictionary (CVPR 2024) as UPSR has it: tokens are of unit length, and the three
attentions are added over the root of three. Tensor names are the authors'; features are (B, n, C)
with n = height x width. The third attention sorts all pixels of the input by their likeness to the
dictionary's tokens, so what it gives depends on the whole tile: run it on tiles of one size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize, pixel_shuffle

from engines.superres.upsr.swin import from_windows, position_index, to_windows

_APART = -100.0
_HOTTEST = math.log(100.0)  # of the logits among like pixels


def _parts(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(..., n, 3C) -> q, k, v, each (..., heads, n, C/heads)."""
    split = qkv.unflatten(-1, (3, heads, -1)).movedim(-3, 0).transpose(-3, -2)
    return split[0], split[1], split[2]


def _joined(x: Tensor) -> Tensor:
    """(..., heads, n, C/heads) -> (..., n, C)."""
    return x.transpose(-3, -2).flatten(-2)


def shift_mask(height: int, width: int, window: int) -> Tensor:
    """Logits that part what a cyclic shift by half a window made neighbours: (windows, n, n)."""
    rows, columns = torch.zeros(height), torch.zeros(width)
    for side in (rows, columns):
        side[-window:] = 1.0
        side[-(window // 2) :] = 2.0
    regions = (3.0 * rows[:, None] + columns)[None, :, :, None]
    region = to_windows(regions, window)[..., 0]
    return (region[:, None, :] != region[:, :, None]).float() * _APART


class _WindowAttention(nn.Module):
    def __init__(self, channels: int, window: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(
            0.02 * torch.randn((2 * window - 1) ** 2, heads)
        )
        self.proj = nn.Linear(channels, channels)

    def forward(self, windows: Tensor, places: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = _parts(windows, self.heads)
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        logits = logits + self.relative_position_bias_table[places].permute(2, 0, 1)
        if mask is not None:
            parted = logits.unflatten(0, (-1, len(mask))) + mask[:, None].to(logits)
            logits = parted.flatten(0, 1)
        return self.proj(_joined(logits.softmax(dim=-1) @ v))


class _DictionaryAttention(nn.Module):
    """Every pixel looks up the tokens; also gives how much of each token it took."""

    def __init__(self, channels: int, tokens: int, reduced: int) -> None:
        super().__init__()
        self.wq = nn.Linear(channels, reduced)
        self.wk = nn.Linear(channels, reduced)
        self.wv = nn.Linear(channels, channels)
        self.scale = nn.Parameter(torch.ones(tokens))

    def forward(self, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        q, k = normalize(self.wq(x), dim=-1), normalize(self.wk(tokens), dim=-1)
        sharper = 1.0 + self.scale.clamp(0.0, 1.0) * math.log(len(self.scale))
        shares = (q @ k.transpose(-2, -1) * sharper).softmax(dim=-1)
        return shares @ self.wv(tokens), shares


class _CategoryAttention(nn.Module):
    """Attention among pixels that took most of the same token, in groups of one size."""

    def __init__(self, channels: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        self.logit_scale = nn.Parameter(torch.full((1, 1), math.log(10.0)))
        self.proj = nn.Linear(channels, channels)

    def forward(self, qkv: Tensor, shares: Tensor) -> Tensor:
        count = qkv.shape[1]
        size = min(count, self.size)
        # As the authors', the sort leaves the order of equals open: a stable one gives a picture
        # that differs by a thousandth.
        order = shares.argmax(dim=-1).sort(dim=-1, stable=False).indices
        sorted_qkv = qkv.gather(1, order[..., None].expand_as(qkv))
        lack = -count % size
        filled = torch.cat([sorted_qkv, sorted_qkv[:, count - lack :].flip(1)], dim=1)
        q, k, v = _parts(filled.unflatten(1, (-1, size)), self.heads)
        heat = self.logit_scale.clamp(max=_HOTTEST).exp()
        mixed = _joined((q @ k.transpose(-2, -1) * heat).softmax(dim=-1) @ v)
        mixed = mixed.flatten(1, 2)[:, :count]
        out = torch.empty_like(mixed).scatter_(1, order[..., None].expand_as(mixed), mixed)
        return self.proj(out)


class _Depthwise(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise_conv = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels), nn.GELU()
        )

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        picture = x.transpose(1, 2).unflatten(2, size)
        return self.depthwise_conv(picture).flatten(2).transpose(1, 2)


class _ConvFfn(nn.Module):
    def __init__(self, channels: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.dwconv = _Depthwise(hidden, kernel)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = gelu(self.fc1(x))
        return self.fc2(x + self.dwconv(x, size))


class _Layer(nn.Module):
    """The three attentions of one norm, then the convolutional MLP, then the dictionary."""

    def __init__(self, config: Atd, window: int, heads: int, shift: int, last: bool) -> None:
        super().__init__()
        channels = config.channels
        self.window, self.shift, self.last = window, shift, last
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.wqkv = nn.Linear(channels, 3 * channels)
        self.attn_win = _WindowAttention(channels, window, heads)
        self.attn_atd = _DictionaryAttention(channels, config.tokens, config.reduced)
        self.attn_aca = _CategoryAttention(channels, heads, config.category)
        self.convffn = _ConvFfn(channels, channels * config.ratio, config.kernel)
        if not last:
            self.norm3 = nn.InstanceNorm1d(config.tokens, affine=True)
            self.sigma = nn.Parameter(torch.zeros(config.tokens, 1))

    def forward(
        self, x: Tensor, tokens: Tensor, size: tuple[int, int], places: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        y = self.norm1(x)
        qkv = self.wqkv(y)
        looked_up, shares = self.attn_atd(y, tokens)
        alike = self.attn_aca(qkv, shares)
        maps = qkv.unflatten(1, size)
        if self.shift:
            maps = maps.roll((-self.shift, -self.shift), dims=(1, 2))
        windows = to_windows(maps, self.window)
        near = self.attn_win(windows, places, mask if self.shift else None)
        near = from_windows(near, self.window, *size)
        if self.shift:
            near = near.roll((self.shift, self.shift), dims=(1, 2))
        x = x + (near.flatten(1, 2) + looked_up + alike) / math.sqrt(3.0)
        x = x + self.convffn(self.norm2(x), size)
        if not self.last:
            kept = self.sigma.sigmoid()
            seen = self.norm3(shares.transpose(1, 2)).softmax(dim=-1) @ x
            tokens = normalize(kept * tokens + (1.0 - kept) * seen, dim=-1)
        return x, tokens


class _Normed(nn.Module):
    """(B, C, H, W) -> (B, n, C), normed (its own module for the tensor names)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.flatten(2).transpose(1, 2))


class _Layers(nn.Module):
    def __init__(self, config: Atd, window: int, depth: int, heads: int) -> None:
        super().__init__()
        self.td = nn.Parameter(torch.randn(config.tokens, config.channels))
        self.layers = nn.ModuleList(
            _Layer(config, window, heads, window // 2 if i % 2 else 0, i == depth - 1)
            for i in range(depth)
        )

    def forward(self, x: Tensor, size: tuple[int, int], places: Tensor, mask: Tensor) -> Tensor:
        tokens = normalize(self.td, dim=-1).expand(x.shape[0], -1, -1)
        for layer in self.layers:
            x, tokens = layer(x, tokens, size, places, mask)
        return x


class _Group(nn.Module):
    """Layers, a convolution and a norm, around a skip."""

    def __init__(self, config: Atd, window: int, depth: int, heads: int) -> None:
        super().__init__()
        self.residual_group = _Layers(config, window, depth, heads)
        self.conv = nn.Conv2d(config.channels, config.channels, 3, padding=1)
        self.patch_embed = _Normed(config.channels)

    def forward(self, x: Tensor, size: tuple[int, int], places: Tensor, mask: Tensor) -> Tensor:
        y = self.residual_group(x, size, places, mask)
        return x + self.patch_embed(self.conv(y.transpose(1, 2).unflatten(2, size)))


class Atd(nn.Module):
    """(B, 3, h, w) RGB in 0..1 -> (B, 3, s·h, s·w), not clamped.

    Args:
        scale: s.
        channels: width of the features.
        depths: layers of each group.
        heads: of the attentions of each group.
        window: side of an attention window; sides that are no multiples are filled by mirroring.
        category: pixels that attend to each other because they are alike.
        tokens: entries of the dictionary.
        reduced: width in which pixels and tokens are compared.
        kernel: side of the depthwise convolution in the MLP.
        ratio: width of the MLP over that of the features.
    """

    relative_position_index_SA: Tensor

    def __init__(
        self,
        scale: int = 4,
        channels: int = 96,
        depths: Sequence[int] = (6, 6, 6, 6),
        heads: Sequence[int] = (4, 4, 4, 4),
        window: int = 16,
        category: int = 128,
        tokens: int = 64,
        reduced: int = 8,
        kernel: int = 7,
        ratio: int = 1,
    ) -> None:
        super().__init__()
        self.scale, self.channels, self.window = scale, channels, window
        self.category, self.tokens, self.reduced = category, tokens, reduced
        self.kernel, self.ratio = kernel, ratio
        self.register_buffer("relative_position_index_SA", position_index(window))
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.patch_embed = _Normed(channels)
        self.layers = nn.ModuleList(
            _Group(self, window, depth, count) for depth, count in zip(depths, heads, strict=True)
        )
        self.norm = nn.LayerNorm(channels)
        self.conv_after_body = nn.Conv2d(channels, channels, 3, padding=1)
        self.upsample = nn.Sequential(nn.Conv2d(channels, 3 * scale**2, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        height, width = x.shape[-2:]
        x = self._filled(x)
        size = (x.shape[-2], x.shape[-1])
        mask = shift_mask(*size, self.window).to(x)
        places = self.relative_position_index_SA
        first = self.conv_first(2.0 * x - 1.0)
        features = self.patch_embed(first)
        for group in self.layers:
            features = group(features, size, places, mask)
        body = self.norm(features).transpose(1, 2).unflatten(2, size)
        out = pixel_shuffle(self.upsample(self.conv_after_body(body) + first), self.scale)
        return out[..., : height * self.scale, : width * self.scale] / 2.0 + 0.5

    def _filled(self, x: Tensor) -> Tensor:
        """Mirrored, edges doubled, at the right and the foot until windows fit."""
        for axis in (2, 3):
            while lack := -x.shape[axis] % self.window:
                mirrored = x.flip(axis).narrow(axis, 0, min(lack, x.shape[axis]))
                x = torch.cat([x, mirrored], dim=axis)
        return x
