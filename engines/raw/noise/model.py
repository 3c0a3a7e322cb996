"""The noise of a sensor drawn as physics makes it (ELD, "Physics-based Noise Modeling for Extreme
Low-light Photography").

D = K · Poisson(I) + read + colour bias + row + rounding, in digital numbers. Read noise follows
Tukey's lambda law. A row's offset is one number that all its pixels share, so it is drawn on the
mosaic: R and G of one sensor row move together, which copies that draw it for every packed plane
miss. Rounding and clipping come last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines.raw.noise import tukey
from engines.raw.noise.sensor import SensorNoise
from kernels.bayer import site_order

Floats = NDArray[np.float32]
Kind = Literal["eld", "poisson-gaussian", "gaussian"]

_ROWS = 256  # drawn at once


def read_noise(
    noise: SensorNoise, shape: tuple[int, int], random: np.random.Generator, kind: Kind
) -> Floats:
    """Pixel-wise read noise alone, DN, not rounded."""
    if kind == "eld":
        return np.float32(noise.sigma_tl) * tukey.draw(random, shape, noise.lam)
    return np.float32(noise.sigma) * random.standard_normal(shape, dtype=np.float32)


def signal_independent(
    noise: SensorNoise,
    shape: tuple[int, int],
    cfa: str,
    random: np.random.Generator,
    kind: Kind = "eld",
) -> Floats:
    """What the dark shows above black at a mosaic's rows, the first of which is an even one."""
    found = read_noise(noise, shape, random, kind)
    if kind == "eld":
        found += np.float32(noise.sigma_row) * random.standard_normal(
            (shape[0], 1), dtype=np.float32
        )
        for plane, site in enumerate(site_order(cfa)):
            found[site // 2 :: 2, site % 2 :: 2] += np.float32(noise.bias[plane])
    return found


def strips(height: int) -> Iterator[tuple[int, int]]:
    """First and last (exclusive) rows of the strips in which a mosaic is drawn."""
    for top in range(0, height, _ROWS):
        yield top, min(top + _ROWS, height)


def expose(
    clean: Floats,
    noise: SensorNoise,
    cfa: str,
    random: np.random.Generator,
    kind: Kind = "eld",
    dark: Floats | None = None,
) -> Floats:
    """What a sensor makes of light.

    Args:
        clean: (h, w) expected signal in DN above black; less than nothing counts as nothing. Its
            first row is an even one of the mosaic.
        noise: of the exposure.
        cfa: colours of the mosaic's first two rows, such as "RGGB".
        random: seeded generator.
        kind: "eld"; or of the simpler models, shot and Gaussian read noise ("poisson-gaussian") or
            Gaussian read noise alone ("gaussian").
        dark: signal-independent noise of that shape in DN, in place of the model's own.

    Returns:
        (h, w) DN above black, neither rounded nor clipped.
    """
    light = np.maximum(clean, np.float32(0.0))
    if kind != "gaussian":
        light = (noise.K * random.poisson(light.astype(np.float64) / noise.K)).astype(np.float32)
    if dark is None:
        dark = signal_independent(noise, (clean.shape[0], clean.shape[1]), cfa, random, kind)
    return light + dark


def levels(signal: Floats, black: Floats | np.float32, white: float) -> NDArray[np.uint16]:
    """Whole numbers as a file holds them: `signal` in DN above `black`, rounded, then clipped."""
    return np.clip(np.rint(signal + black), 0.0, white).astype(np.uint16)
