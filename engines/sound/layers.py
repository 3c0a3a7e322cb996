"""Layers that the small networks of speech and of separation share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class StandardConv(nn.Conv2d):
    """3x3 convolution with standardised weights (Brock et al. 2021), each output with its gain.

    It trains as steadily as with normalised activations, and these cost a pass over memory.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(width, 1, 1, 1))

    def forward(self, input: Tensor) -> Tensor:
        """(B, width, h, w) -> the same."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        size = self.weight[0].numel()
        standard = (self.weight - mean) * torch.rsqrt(variance * size + 1e-6)
        return self._conv_forward(input, standard * (1.5 * self.gain), self.bias)


class Attention(nn.Module):
    """Self-attention over all positions of a level, four heads, added to what comes in; it adds
    nothing before it is trained.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        for weights in self.out.parameters():
            nn.init.zeros_(weights)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) -> the same; width in fours."""
        batch, width, height, length = x.shape
        tokens = x.permute(0, 2, 3, 1).reshape(batch, height * length, width)
        parts = self.project(self.norm(tokens)).reshape(batch, height * length, 3, 4, width // 4)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        mixed = self.out(mixed.transpose(1, 2).reshape(batch, height * length, width))
        return x + mixed.reshape(batch, height, length, width).permute(0, 3, 1, 2)
