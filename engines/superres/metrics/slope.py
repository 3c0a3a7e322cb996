"""How fast a picture's spectrum falls: too steep is soft, too shallow is noisy or ringing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engines.superres.metrics.fidelity import luma

_LOW, _HIGH = 0.06, 0.42  # cycles a pixel: above the coarse layout, below what a JPEG leaves
_BINS = 24


def spectrum_slope(pictures: Tensor) -> float:
    """Slope of log power over log frequency of the luma, between 0.06 and 0.42 cycles a pixel.

    Args:
        pictures: (B, 3, H, W) RGB in 0..1; sides of 64 pixels or more.

    Returns:
        Mean over the pictures; photographs have about -2 to -4.
    """
    y = luma(pictures)[:, 0]
    height, width = y.shape[-2:]
    window = torch.outer(torch.hann_window(height), torch.hann_window(width)).to(y)
    y = (y - y.mean(dim=(1, 2), keepdim=True)) * window
    power = torch.fft.rfft2(y).abs().square()
    rows = torch.fft.fftfreq(height)[:, None]
    columns = torch.fft.rfftfreq(width)[None, :]
    radius = (rows.square() + columns.square()).sqrt()
    edges = torch.logspace(math.log10(_LOW), math.log10(_HIGH), _BINS + 1)
    slopes: list[Tensor] = []
    for one in power:
        points = [
            (math.log10(float(edges[i] * edges[i + 1]) ** 0.5), one[inside].mean().log10())
            for i in range(_BINS)
            if bool((inside := (radius >= edges[i]) & (radius < edges[i + 1])).any())
        ]
        x = torch.tensor([point[0] for point in points], dtype=torch.float64)
        v = torch.stack([point[1] for point in points]).double().clamp(min=-12.0)
        x = x - x.mean()
        slopes.append((x * (v - v.mean())).sum() / x.square().sum())
    return float(torch.stack(slopes).mean())
