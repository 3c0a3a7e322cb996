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
COLOUR = 1.35  # noise of red or blue over that of green, either way, at equal brightness
_SIDE = 16  # packed pixels of a block, two of border on each side not counted
_INNER = _SIDE - 4
_MOST = 6_000  # blocks a plane
_ENOUGH = 40  # flat blocks without which nothing is said
_FLAT = 0.1  # share of the blocks that are flattest
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
    levels: list[list[Array]] = [[], [], [], []]
    for planes in stacks:
        for number, plane in enumerate(planes):
            lag, level = _flat_blocks(plane, scale, noise, clip)
            lags.append(lag)
            levels[number].append(level)
    lag, of_planes = np.concatenate(lags), [np.concatenate(level) for level in levels]
    found = None if lag.size < _ENOUGH else float(np.median(lag)) - _LAG_OF_WHITE
    if min(level.size for level in of_planes) < _ENOUGH:
        return Whiteness(found, None)
    red, green, other, blue = (float(np.median(level)) for level in of_planes)
    middle = 0.5 * (green + other)
    if middle <= 0.0:
        return Whiteness(found, None)
    ratios = [float(np.sqrt(value / middle)) for value in (red, blue)]
    return Whiteness(found, max(ratios, key=lambda r: abs(np.log(max(r, 1e-3)))))


def _flat_blocks(
    plane: Tensor, scale: float, noise: NoiseEstimate, clip: float
) -> tuple[Array, Array]:
    """Correlation of neighbours, and variance over the noise line's, of a plane's flat blocks."""
    rows, columns = plane.shape[0] // _SIDE, plane.shape[1] // _SIDE
    if rows == 0 or columns == 0:
        return np.empty(0), np.empty(0)
    every = min(max(1, rows * columns // _MOST), rows)
    blocks = torch.stack(
        [plane[r * _SIDE : (r + 1) * _SIDE, : columns * _SIDE] for r in range(0, rows, every)]
    )  # (n, SIDE, columns * SIDE)
    blocks = blocks.reshape(len(blocks), _SIDE, columns, _SIDE).transpose(1, 2).flatten(0, 1)
    blocks = blocks * scale
    unclipped = blocks.amax(dim=(1, 2)) < 0.96 * clip * scale
    blocks = blocks[unclipped & (blocks.amin(dim=(1, 2)) > plane.min() * scale)]
    if len(blocks) < _ENOUGH:
        return np.empty(0), np.empty(0)
    smooth = functional.avg_pool2d(blocks[:, None], 5, stride=1)[:, 0]  # (n, INNER, INNER)
    residual = blocks[:, 2:-2, 2:-2] - smooth
    own = residual.square().mean(dim=(1, 2))
    beside = (residual[:, :, 1:] * residual[:, :, :-1]).mean(dim=(1, 2))
    below = (residual[:, 1:] * residual[:, :-1]).mean(dim=(1, 2))
    lag = 0.5 * (beside + below) / own.clamp_min(1e-12)
    mean = blocks.mean(dim=(1, 2)).double().numpy()
    level = own.double().numpy() / _OWN / noise.variance(mean)
    # Flat is where the smooth part varies least for the noise that there is to expect.
    wave = smooth.double().var(dim=(1, 2)).numpy() / noise.variance(mean)
    flat = wave <= np.quantile(wave, _FLAT)
    return lag.double().numpy()[flat], level[flat]
