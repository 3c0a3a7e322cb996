"""Whether the noise of a file is as the sensor made it, or something worked on it before.

A sensor's noise is white: neighbouring photosites know nothing of each other, and at equal
brightness all colours are equally noisy. Noise reduction in the camera, resizing, demosaicing and
lossy compression leave neighbours correlated or colours unequal. Both are measured on flat blocks
of the residual that a 5 x 5 mean leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engines.raw.noise.estimate import NoiseEstimate

LAG = 0.15  # correlation of neighbours above which noise is not white
COLOUR = 1.5  # noise of red or blue over that of green, either way, at equal brightness
_SIDE = 16  # packed pixels of a block, two of border on each side not counted
_INNER = _SIDE - 4
_MOST = 6_000  # blocks a plane
_ENOUGH = 12  # flat blocks without which nothing is said
_ENOUGH_OF_COLOUR = 60
_FLAT = 0.1  # share of the blocks that are flattest
_COMMON = 0.4  # correlation of a plane with the others beyond which a block holds texture
# White noise less its 5 x 5 mean has variance 1 - 1/25, and lag one 20/625 - 2/25 of it.
_OWN = 0.96
_LAG_OF_WHITE = (20.0 / 625.0 - 2.0 / 25.0) / _OWN

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Whiteness:
    """What flat places say.

    Attributes:
        lag: correlation of neighbours of one plane, 0 for white noise; None where there was too
            little to tell.
        colour: noise of red and of blue over that of green at equal brightness, whichever is
            farther from one; None as above.
    """

    lag: float | None
    colour: float | None

    @property
    def white(self) -> bool:
        """Whether nothing speaks against it."""
        even = self.colour is None or 1.0 / COLOUR < self.colour < COLOUR
        return even and (self.lag is None or self.lag < LAG)

    @property
    def note(self) -> str:
        """One sentence for the person, "" where the noise is white."""
        if self.white:
            return ""
        return (
            "The noise is not as a sensor leaves it: noise reduction or lossy compression came "
            "before, so strength counts half here; raise it if noise is left"
        )


def whiteness(
    stacks: Sequence[Tensor], scale: float, noise: NoiseEstimate, clip: float = 1.0
) -> Whiteness:
    """Measure both.

    Args:
        stacks: of four planes (4, h, w) in the order R, G, G, B, float32, 0 at black, 1 at white.
        scale: white minus black in DN.
        noise: the line against which brightness is evened out.
        clip: level at which the sensor clips, in the units of `stacks`.
    """
    lags: list[Array] = []
    levels: list[Array] = []
    for planes in stacks:
        lag, level = _flat_blocks(planes, scale, noise, clip)
        lags.append(lag.ravel())
        levels.append(level)
    lag, level = np.concatenate(lags), np.concatenate(levels, axis=1)
    if level.shape[1] < _ENOUGH:
        return Whiteness(None, None)
    found = float(np.median(lag)) - _LAG_OF_WHITE
    if level.shape[1] < _ENOUGH_OF_COLOUR:
        return Whiteness(found, None)
    red, green, other, blue = (float(np.median(one)) for one in level)
    middle = 0.5 * (green + other)
    if middle <= 0.0:
        return Whiteness(found, None)
    ratios = [float(np.sqrt(value / middle)) for value in (red, blue)]
    return Whiteness(found, max(ratios, key=lambda r: abs(np.log(max(r, 1e-3)))))


def _flat_blocks(
    planes: Tensor, scale: float, noise: NoiseEstimate, clip: float
) -> tuple[Array, Array]:
    """(4, n) correlation of neighbours, and variance over the noise line's, of flat blocks."""
    rows, columns = planes.shape[1] // _SIDE, planes.shape[2] // _SIDE
    if rows == 0 or columns == 0:
        return np.empty((4, 0)), np.empty((4, 0))
    every = min(max(1, rows * columns // _MOST), rows)
    taken = [
        planes[:, r * _SIDE : (r + 1) * _SIDE, : columns * _SIDE] for r in range(0, rows, every)
    ]
    blocks = torch.stack(taken, dim=1).reshape(4, -1, _SIDE, columns, _SIDE)
    blocks = blocks.transpose(2, 3).flatten(1, 2)  # (4, n, SIDE, SIDE)
    floor = planes.amin(dim=(1, 2)).reshape(4, 1)
    inside = (blocks.amax(dim=(2, 3)) < 0.96 * clip) & (blocks.amin(dim=(2, 3)) > floor)
    blocks = blocks[:, inside.all(dim=0)] * scale
    if blocks.shape[1] < _ENOUGH:
        return np.empty((4, 0)), np.empty((4, 0))
    smooth = functional.avg_pool2d(blocks, 5, stride=1)  # (4, n, INNER, INNER)
    residual = blocks[:, :, 2:-2, 2:-2] - smooth
    own = residual.square().mean(dim=(2, 3)).clamp_min(1e-12)
    beside = (residual[..., 1:] * residual[..., :-1]).mean(dim=(2, 3))
    below = (residual[..., 1:, :] * residual[..., :-1, :]).mean(dim=(2, 3))
    # Texture is common to the planes, and noise is not, whatever worked on it plane by plane.
    others = (residual.sum(dim=0, keepdim=True) - residual) / 3.0
    common = (residual * others).mean(dim=(2, 3))
    common = common / (own * others.square().mean(dim=(2, 3)).clamp_min(1e-12)).sqrt()
    wave = (smooth.var(dim=(2, 3)) / own).mean(dim=0)
    wave[common.abs().amax(dim=0) > _COMMON] = torch.inf
    flat = wave <= max(float(wave.double().quantile(_FLAT)), 0.0)
    flat &= wave.isfinite()
    level = own.double().numpy() / _OWN / noise.variance(blocks.mean(dim=(2, 3)).double().numpy())
    lag = (0.5 * (beside + below) / own).double()
    return lag[:, flat].numpy(), level[:, flat.numpy()]
