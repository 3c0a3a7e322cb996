"""What the networks of video super-resolution are built of.

Names of the modules are those of the authors' checkpoints, which are mmedit's (RealBasicVSR, CVPR
2022, on BasicVSR, CVPR 2021).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, leaky_relu, relu

SLOPE = 0.1  # of all leaky ReLUs


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x))), without normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x + self.conv2(relu(self.conv1(x)))


class Trunk(nn.Module):
    """(B, `given`, h, w) -> (B, `channels`, h, w): a convolution, then residual blocks."""

    def __init__(self, given: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(given, channels, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks))),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.main(x)


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU of the slope that all layers have."""
    return leaky_relu(x, SLOPE)


def warp(x: Tensor, flow: Tensor, border: bool = False) -> Tensor:
    """Look up `x` where `flow` points, bilinearly.

    Args:
        x: (B, C, h, w).
        flow: (B, 2, h, w) pixels to the right and downwards, from each place of the result.
        border: beyond the edge lies the outermost pixel, else 0.

    Returns:
        (B, C, h, w) float32; half floats would not hold the places.
    """
    height, width = x.shape[-2:]
    across = torch.arange(width, device=x.device, dtype=torch.float32)
    down = torch.arange(height, device=x.device, dtype=torch.float32)[:, None]
    flow = flow.float()
    places = torch.stack(
        [
            2.0 * (across + flow[:, 0]) / max(width - 1, 1) - 1.0,
            2.0 * (down + flow[:, 1]) / max(height - 1, 1) - 1.0,
        ],
        dim=3,
    )
    padding = "border" if border else "zeros"
    return grid_sample(x.float(), places, "bilinear", padding, align_corners=True)
