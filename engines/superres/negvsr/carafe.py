"""CARAFE (ICCV 2019): enlarging features by weights that the features themselves give.

Every pixel of the result is a weighted mean of the 5 x 5 pixels around the one of the input that
it lies in; the weights come out of a small network. In place of the authors' compiled operation it
is 25 shifted products, strip by strip of rows so that they stay in the processor's cache; the
unfolded pixels would take 25 times the memory and, measured, three times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_shuffle

_KERNEL = 5
_MARGIN = _KERNEL // 2
_STRIP = 1 << 18  # values of the result that are worked on at once


class Carafe(nn.Module):
    """(B, C, h, w) -> (B, C, s·h, s·w) float32.

    Args:
        channels: C.
        compressed: channels that the weights are made from.
        scale: s.
    """

    def __init__(self, channels: int, compressed: int = 64, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.channel_compressor = nn.Conv2d(channels, compressed, 1)
        self.content_encoder = nn.Conv2d(compressed, (_KERNEL * scale) ** 2, 3, padding=1)
        nn.init.xavier_uniform_(self.channel_compressor.weight)
        nn.init.zeros_(self.channel_compressor.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.content_encoder.weight, std=0.001)
        nn.init.zeros_(self.content_encoder.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        batch, _, height, width = x.shape
        logits = self.content_encoder(self.channel_compressor(x))
        shape = (batch, _KERNEL**2, self.scale**2, height, width)
        weights = logits.float().reshape(shape).softmax(dim=1)
        found = gathered(pad(x.float(), (_MARGIN,) * 4), weights)
        return pixel_shuffle(found.reshape(batch, -1, height, width), self.scale)


def gathered(padded: Tensor, weights: Tensor) -> Tensor:
    """Weighted means of the pixels around each one, several of them a pixel.

    Args:
        padded: (B, C, h + 4, w + 4) float32.
        weights: (B, 25, n, h, w) float32, the neighbours row by row.

    Returns:
        (B, C, n, h, w) float32.
    """
    return _Gather.apply(padded, weights)  # type: ignore[no-any-return]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(padded, weights)
        batch, _, count, height, width = weights.shape
        found = padded.new_zeros(batch, padded.shape[1], count, height, width)
        for top, bottom in _strips(found):
            part = found[:, :, :, top:bottom]
            for tap in range(_KERNEL**2):
                seen = _shifted(padded, tap, top, bottom, width)
                part.addcmul_(seen[:, :, None], weights[:, None, tap, :, top:bottom])
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        padded, weights = ctx.saved_tensors
        [gradient] = gradients
        of_padded, of_weights = torch.zeros_like(padded), torch.empty_like(weights)
        width = weights.shape[4]
        for top, bottom in _strips(gradient):
            part = gradient[:, :, :, top:bottom].contiguous()
            for tap in range(_KERNEL**2):
                seen = _shifted(padded, tap, top, bottom, width)
                of_weights[:, tap, :, top:bottom] = (part * seen[:, :, None]).sum(1)
                share = (part * weights[:, None, tap, :, top:bottom]).sum(2)
                _shifted(of_padded, tap, top, bottom, width).add_(share)
        return of_padded, of_weights


def _strips(found: Tensor) -> Iterator[tuple[int, int]]:
    height = found.shape[3]
    rows = max(_STRIP * height // max(found.numel(), 1), 4)
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def _shifted(padded: Tensor, tap: int, top: int, bottom: int, width: int) -> Tensor:
    """The neighbours of one kind of rows `top` up to `bottom`, a view."""
    down, across = divmod(tap, _KERNEL)
    return padded[:, :, top + down : bottom + down, across : across + width]
