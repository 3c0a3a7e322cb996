"""A Fréchet distance between two sets of pictures on the features of a fixed random network.

It is no FID: that has an Inception network trained on ImageNet, and other numbers. The features
here are those of three convolutions with weights of chance, always the same, each followed by the
mean and the spread of every channel over the picture; with the colours' own that makes 102 numbers
a picture. It tells two sets of the same kind of pictures apart, and is good for nothing else.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import conv2d, leaky_relu

_CHANNELS = (3, 16, 16, 16)
_SEED = 20_261_130


@torch.no_grad()
def features(pictures: Tensor) -> Tensor:
    """(n, 102) float64 of pictures (n, 3, H, W) in -1..1."""
    generator = torch.Generator().manual_seed(_SEED)
    x, found = pictures, [pictures.mean((2, 3)), pictures.std((2, 3))]
    for channels, more in pairwise(_CHANNELS):
        weight = torch.randn((more, channels, 3, 3), generator=generator) / (9 * channels) ** 0.5
        x = leaky_relu(conv2d(x, weight, stride=2 if channels > 3 else 1, padding=1), 0.2)
        found += [x.mean((2, 3)), x.std((2, 3))]
    return torch.cat(found, dim=1).double()


def frechet(first: Tensor, second: Tensor) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of features (n, d) and (m, d)."""
    (mean, spread), (other, wide) = (_moments(one) for one in (first, second))
    half = _root(spread)
    cross = _root(half @ wide @ half)
    apart = float((mean - other).square().sum())
    return apart + float(torch.trace(spread) + torch.trace(wide) - 2 * torch.trace(cross))


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.mean(0), torch.cov(values.T)


def _root(matrix: Tensor) -> Tensor:
    """Square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T
