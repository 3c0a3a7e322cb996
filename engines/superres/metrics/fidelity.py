"""Measures against the original: PSNR and SSIM of luma as super-resolution papers take them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

_WINDOW, _SIGMA = 11, 1.5


def luma(pictures: Tensor) -> Tensor:
    """Y of ITU-R BT.601 in studio range: (B, 3, H, W) RGB in 0..1 -> (B, 1, H, W) in 16..235."""
    weights = pictures.new_tensor([65.481, 128.553, 24.966]).reshape(1, 3, 1, 1)
    return (pictures * weights).sum(1, keepdim=True) + 16.0


def rounded(pictures: Tensor) -> Tensor:
    """Clamped and rounded to 8 bits, as a file would hold them; still in 0..1."""
    return (pictures.clamp(0.0, 1.0) * 255.0).round() / 255.0


def psnr_y(found: Tensor, truth: Tensor, border: int) -> float:
    """PSNR in dB of the luma of (1, 3, H, W) pictures in 0..1, `border` pixels left out."""
    error = _inner(luma(found) - luma(truth), border).square().mean()
    return 10.0 * math.log10(255.0**2 / max(float(error), 1e-10))


def ssim_y(found: Tensor, truth: Tensor, border: int) -> float:
    """SSIM of the luma (Wang et al. 2004: Gaussian window of 11, sigma 1.5), valid area only."""
    x, y = (_inner(luma(one), border) for one in (found, truth))
    line = torch.exp(-((torch.arange(_WINDOW) - _WINDOW // 2) ** 2) / (2.0 * _SIGMA**2)).to(x)
    line = line / line.sum()

    def mean(one: Tensor) -> Tensor:
        rows = conv2d(one, line.reshape(1, 1, -1, 1))
        return conv2d(rows, line.reshape(1, 1, 1, -1))

    c1, c2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
    mx, my = mean(x), mean(y)
    vx, vy = mean(x * x) - mx * mx, mean(y * y) - my * my
    cov = mean(x * y) - mx * my
    ratio = ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(ratio.mean())


def _inner(picture: Tensor, border: int) -> Tensor:
    height, width = picture.shape[-2:]
    return picture[..., border : height - border, border : width - border]
