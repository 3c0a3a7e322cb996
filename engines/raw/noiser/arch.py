"""The network of NoiSER: two convolutions with an instance normalisation between them.

The normalisation is all that brightens: it gives every feature the mean and the spread that it had
on the noise that was learned, whatever the picture is. Here it may be told its statistics, so that
a picture that is cut into tiles, or a small version of it, gets the same look everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

RADIUS = 2  # pixels that a result depends on, each way
_EPSILON = 1e-5


class Norm(NamedTuple):
    """Mean and variance of each feature over a picture, (1, width, 1, 1) float32."""

    mean: Tensor
    variance: Tensor


class NoiserNet(nn.Module):
    """Convolution 3x3, instance normalisation without weights, GELU, convolution 3x3, tanh.

    Args:
        width: features between the convolutions; 32 are 1763 weights, 16 are 883.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Conv2d(3, width, 3, padding=1, padding_mode="reflect")
        self.last = nn.Conv2d(width, 3, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor, norm: Norm | None = None) -> Tensor:
        """Reproduce noise, or brighten a picture.

        Args:
            x: (B, 3, h, w) in [-1, 1], sides of 2 and more.
            norm: statistics to use; by default those of each picture of the batch itself.

        Returns:
            (B, 3, h, w) in [-1, 1].
        """
        features = self.first(x)
        if norm is None:
            features = functional.instance_norm(features, eps=_EPSILON)
        else:
            features = (features - norm.mean) * torch.rsqrt(norm.variance + _EPSILON)
        return torch.tanh(self.last(functional.gelu(features)))

    def statistics(self, x: Tensor) -> Norm:
        """What the normalisation finds on a batch (B, 3, h, w), over all of it."""
        features = self.first(x)
        variance, mean = torch.var_mean(features, dim=(0, 2, 3), keepdim=True, correction=0)
        return Norm(mean, variance)
