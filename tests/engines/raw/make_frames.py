"""Calibration frames of a made-up camera whose noise is known in every part."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from engines.raw.noise.model import expose, levels
from engines.raw.noise.sensor import SensorNoise
from tests.engines.media.make_raw import write_dng

BLACK, WHITE = 512.0, 16383.0
CFA = "RGGB"
SIZE = (384, 512)


def truth(iso: float) -> SensorNoise:
    """Noise of the camera at an ISO: K goes with it, the tails get heavier."""
    gain = 0.0012 * iso
    lam = {100: 0.12, 800: 0.02, 3200: -0.08, 12800: -0.15}[round(iso)]
    scale = float(np.exp(0.75 * np.log(gain) + 0.5))
    from engines.raw.noise.tukey import spread

    return SensorNoise(
        gain, scale * spread(lam), scale, lam, 0.35 * gain**0.7,
        (0.3 * gain, -0.2 * gain, 0.5 * gain, 0.1),
    )  # fmt: skip


def write_frame(
    path: Path,
    noise: SensorNoise,
    iso: float,
    seed: int,
    *,
    light: float = 0.0,
    exposure: float = 0.001,
    size: tuple[int, int] = SIZE,
    pattern: Any = 0.0,
    clean: Any = None,
    **more: Any,
) -> Path:
    """One frame; `light` is the share of the range in green at its middle (0 for a dark frame).

    `pattern` is added to the signal in DN, `clean` replaces the evenly lit surface.
    """
    random = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[-1.0 : 1.0 : height * 1j, -1.0 : 1.0 : width * 1j]
    surface = light * (WHITE - BLACK) * (1.0 - 0.15 * (x**2 + y**2))
    surface[0::2, 0::2] *= 0.5
    surface[1::2, 1::2] *= 0.7
    if clean is not None:
        surface = clean
    signal = expose(surface.astype(np.float32), noise, CFA, random) + np.float32(pattern)
    mosaic = levels(signal, np.full((1, 1), BLACK, np.float32), WHITE)
    ratio = Fraction(exposure).limit_denominator(100_000)
    tags = [
        (34855, 3, 1, round(iso), True),
        (33434, 5, 1, (ratio.numerator, ratio.denominator), True),
    ]
    return write_dng(path, mosaic, more=tags, **more)


def write_set(
    folder: Path,
    isos: tuple[float, ...] = (100, 800, 3200, 12800),
    *,
    darks: int = 4,
    flats: tuple[float, ...] = (0.05, 0.2, 0.5),
    size: tuple[int, int] = SIZE,
) -> list[Path]:
    """A whole calibration set, two flats a brightness."""
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Path] = []
    for iso in isos:
        noise = truth(iso)
        for n in range(darks):
            path = folder / f"dark-{iso:.0f}-{n}.dng"
            found.append(write_frame(path, noise, iso, round(iso) + n, size=size))
        for level in flats:
            for n in range(2):
                path = folder / f"flat-{iso:.0f}-{level}-{n}.dng"
                seed = round(iso + 1000 * level) + 10 + n
                found.append(
                    write_frame(path, noise, iso, seed, light=level, exposure=level, size=size)
                )
    return found
