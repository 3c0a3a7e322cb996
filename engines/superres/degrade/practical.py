"""The two-stage practical degradation: how a photo from the web came to look as it does.

Real-ESRGAN (ICCVW 2021) with UPSR's ranges: blur, resize, noise and JPEG, twice, then a sinc that
rings as bad software does. Resizes are not antialiased, as there.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.superres.degrade.kernels import Blur, draw_kernel, draw_last

Picture = NDArray[np.float32]  # (H, W, 3) RGB in 0..1

MODES = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
GREY_SHARE = 0.4


@dataclass(frozen=True)
class Stage:
    """Ranges of one of the two stages."""

    blur: Blur
    up: float  # share that is enlarged
    down: float  # share that is reduced
    sizes: tuple[float, float]
    noise: tuple[float, float]  # Gaussian, in 8-bit levels
    poisson: tuple[float, float]


@dataclass(frozen=True)
class Practical:
    """One way to wear pictures.

    Attributes:
        scale: picture over measurement.
        stages: both stages' ranges.
        quality: range of JPEG.
        second_blur: share of pictures that are blurred a second time.
    """

    scale: int
    stages: tuple[Stage, Stage]
    quality: tuple[float, float]
    second_blur: float

    def wear(self, picture: Picture, random: np.random.Generator) -> Picture:
        """(H, W, 3) in 0..1 -> (H/scale, W/scale, 3), rounded to 8 bits.

        The sides must be multiples of the scale.
        """
        height, width = picture.shape[0] // self.scale, picture.shape[1] // self.scale
        first, second = self.stages
        worn = filtered(picture, draw_kernel(random, first.blur))
        worn = _resize(worn, _factor(random, first), picture.shape[:2], random)
        worn = jpeg(_noise(worn, first, random), random.uniform(*self.quality))
        if random.random() < self.second_blur:
            worn = filtered(worn, draw_kernel(random, second.blur))
        worn = _resize(worn, _factor(random, second), (height, width), random)
        worn = _noise(worn, second, random)
        quality = random.uniform(*self.quality)
        if random.random() < 0.5:
            worn = filtered(_resize(worn, 1.0, (height, width), random), draw_last(random))
            worn = jpeg(worn, quality)
        else:
            worn = jpeg(worn, quality)
            worn = filtered(_resize(worn, 1.0, (height, width), random), draw_last(random))
        return rounded(worn)


def full(scale: int) -> Practical:
    """The published ranges."""
    return Practical(
        scale,
        (
            Stage(Blur(19, (0.2, 3.0)), 0.2, 0.7, (0.15, 1.5), (1.0, 30.0), (0.05, 3.0)),
            Stage(Blur(13, (0.2, 1.5)), 0.3, 0.4, (0.3, 1.2), (1.0, 25.0), (0.05, 2.5)),
        ),
        (30.0, 95.0),
        0.8,
    )


def half(scale: int) -> Practical:
    """About half the published ranges: what a small network can follow without growing smooth."""
    return Practical(
        scale,
        (
            Stage(Blur(13, (0.2, 1.5)), 0.2, 0.5, (0.5, 1.25), (1.0, 15.0), (0.05, 1.5)),
            Stage(Blur(7, (0.2, 0.8)), 0.2, 0.3, (0.6, 1.1), (1.0, 10.0), (0.05, 1.0)),
        ),
        (50.0, 95.0),
        0.5,
    )


def filtered(picture: Picture, kernel: NDArray[np.float32]) -> Picture:
    """A picture through a blur, mirrored at its edges."""
    found = cv2.filter2D(picture, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(found, dtype=np.float32)


def resized(picture: Picture, size: tuple[int, int], mode: int) -> Picture:
    """To (height, width), by one of `MODES`."""
    if picture.shape[:2] == size:
        return picture
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=mode), dtype=np.float32)


def gaussian_noise(picture: Picture, grey: bool, random: np.random.Generator) -> Picture:
    """What is to be added: normal numbers, of one channel where it is grey."""
    shape = (*picture.shape[:2], 1 if grey else 3)
    return random.standard_normal(shape, dtype=np.float32)


def poisson_noise(picture: Picture, grey: bool, random: np.random.Generator) -> Picture:
    """What is to be added, of as many photons as there are levels in the picture."""
    clean = rounded(picture)
    seen = clean.mean(axis=2, keepdims=True) if grey else clean
    levels = len(np.unique((seen * 255.0).round()))
    photons = 2.0 ** np.ceil(np.log2(max(levels, 2)))
    noise = random.poisson(seen * photons) / photons - seen
    return noise.astype(np.float32)


def jpeg(picture: Picture, quality: float) -> Picture:
    """A picture after JPEG."""
    levels = (picture.clip(0.0, 1.0) * 255.0).round().astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", levels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    return np.asarray(decoded, dtype=np.float32)[:, :, ::-1] / np.float32(255.0)


def rounded(picture: Picture) -> Picture:
    """A picture as 8 bits hold it."""
    return (picture.clip(0.0, 1.0) * 255.0).round().astype(np.float32) / np.float32(255.0)


def _factor(random: np.random.Generator, stage: Stage) -> float:
    lowest, highest = stage.sizes
    drawn = random.random()
    if drawn < stage.up:
        return random.uniform(1.0, highest)
    return random.uniform(lowest, 1.0) if drawn < stage.up + stage.down else 1.0


def _resize(
    picture: Picture, factor: float, sides: tuple[int, ...], random: np.random.Generator
) -> Picture:
    """To `factor` times the given height and width."""
    height, width = (max(round(side * factor), 1) for side in sides[:2])
    if picture.shape[:2] == (height, width):
        return picture
    return resized(picture, (height, width), MODES[int(random.integers(3))])


def _noise(picture: Picture, stage: Stage, random: np.random.Generator) -> Picture:
    """Gaussian or Poisson noise, the same for all three channels in two pictures of five."""
    grey = random.random() < GREY_SHARE
    if random.random() < 0.5:
        level = np.float32(random.uniform(*stage.noise) / 255.0)
        return (picture + gaussian_noise(picture, grey, random) * level).clip(0.0, 1.0)
    noise = poisson_noise(picture, grey, random)
    return (picture + noise * random.uniform(*stage.poisson)).clip(0.0, 1.0)
