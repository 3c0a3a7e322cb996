"""Block statistics of packed planes: how bright, how noisy, and whether it is texture.

The variance is that of the diagonal detail (a - b - c + d) / 2 of neighbouring pixels, which for
white noise has the noise's own variance. Smooth shading cancels in it, and of all directions
natural pictures have the least contrast in this one, so far more blocks count as flat than with
the plain variance that the published code thresholds.

Noise is independent between the four planes and texture is not: the correlations of the planes'
details tell one from the other without any threshold on strength.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Array = NDArray[np.float64]

SIDE = 12  # packed pixels
_PAIRS = list(combinations(range(4), 2))
TEXTURE_OF_NOISE = float(len(_PAIRS))  # expectation of `Blocks.texture` where there is noise alone
# Overlapping details are correlated (1, -1/2, 1/4); this many independent ones say as much.
_INDEPENDENT = (SIDE - 1) ** 2 / 2.25
SHAPE = 0.5 * _INDEPENDENT  # of the gamma law of a flat block's variance
_MOST = 12_000  # blocks a plane; more say nothing new
_FLOOR_SHARE = 0.02
_STRIPS = 32  # rows of blocks at once


@dataclass(frozen=True)
class Blocks:
    """Usable (not clipped) blocks of all planes together.

    Attributes:
        means: (n,) mean in DN above black.
        variances: (n,) variance of the diagonal detail in DN².
        scene: (n,) variance of the denoised picture's detail in DN²; zeros without one.
        texture: (n,) sum over the pairs of planes of N times their squared correlation, about
            chi-square with six degrees of freedom where there is noise alone.
        total: number of blocks that there were, usable or not.
    """

    means: Array
    variances: Array
    scene: Array
    texture: Array
    total: int


def measure(
    planes: Tensor, scale: float, clip: float = 1.0, denoised: Tensor | None = None
) -> Blocks:
    """Statistics of an image, or of one tile of it.

    Args:
        planes: (4, h, w) float32 on the CPU, 0 at black and 1 at white, unclamped.
        scale: white minus black in DN.
        clip: level at which the sensor clips, in the units of `planes`.
        denoised: the same picture denoised; it then gives means and `scene`.
    """
    rows, columns = planes.shape[1] // SIDE, planes.shape[2] // SIDE
    if rows == 0 or columns == 0:
        return join([])
    every = min(max(1, rows * columns // _MOST), rows)
    floor = planes.amin(dim=(1, 2))
    taken = list(range(0, rows, every))
    parts: list[Blocks] = []
    for start in range(0, len(taken), _STRIPS):
        strips = _strips(planes, taken[start : start + _STRIPS], columns)
        detail = _detail(strips)
        own = _pool(detail.square())
        texture = torch.zeros_like(own[0])
        for i, j in _PAIRS:
            product = _pool((detail[i] * detail[j])[None])[0]
            texture += _INDEPENDENT * product.square() / (own[i] * own[j]).clamp_min(1e-30)
        usable = functional.max_pool2d(strips.flatten(0, 1), SIDE).reshape(own.shape) < 0.96 * clip
        at_floor = (strips <= floor.reshape(4, 1, 1, 1)).float()
        usable &= (
            functional.avg_pool2d(at_floor.flatten(0, 1), SIDE).reshape(own.shape) < _FLOOR_SHARE
        )
        scene = torch.zeros_like(own)
        shown = strips
        if denoised is not None:
            shown = _strips(denoised, taken[start : start + _STRIPS], columns)
            scene = _pool(_detail(shown).square())
        means = functional.avg_pool2d(shown.flatten(0, 1), SIDE).reshape(own.shape)
        parts.append(
            Blocks(
                _numbers(means, usable) * scale,
                _numbers(own, usable) * scale**2,
                _numbers(scene, usable) * scale**2,
                _numbers(texture.expand_as(own), usable),
                own.numel(),
            )
        )
    return join(parts)


def join(parts: Sequence[Blocks]) -> Blocks:
    """Blocks of several tiles together."""

    def all_of(name: str) -> Array:
        return np.concatenate([np.empty(0), *(getattr(part, name) for part in parts)])

    return Blocks(
        all_of("means"),
        all_of("variances"),
        all_of("scene"),
        all_of("texture"),
        sum(part.total for part in parts),
    )


def _strips(planes: Tensor, taken: Sequence[int], columns: int) -> Tensor:
    """(4, n, SIDE, columns * SIDE): the rows of blocks that `taken` numbers."""
    rows = [planes[:, row * SIDE : (row + 1) * SIDE, : columns * SIDE] for row in taken]
    return torch.stack(rows, dim=1)


def _detail(strips: Tensor) -> Tensor:
    down = strips[..., 1:, :] - strips[..., :-1, :]
    return 0.5 * (down[..., 1:] - down[..., :-1])


def _pool(values: Tensor) -> Tensor:
    """Means over the details inside each block: (p, n, SIDE - 1, w) -> (p, n, columns)."""
    pooled = functional.avg_pool2d(values.flatten(0, 1), SIDE - 1, stride=SIDE)
    return pooled.reshape(values.shape[0], values.shape[1], -1)


def _numbers(values: Tensor, usable: Tensor) -> Array:
    return values[usable].double().numpy()
