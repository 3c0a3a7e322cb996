"""Gain and read noise of one image, blindly; YOND's coarse and refined estimates.

Coarse (`estimate_self`): block means and variances of the noisy image alone, textured blocks left
out, and the line under the cloud (`engines.raw.noise.fit`). Refined (`estimate_pair`): the
denoised picture shows which blocks are flat, and its detail is subtracted from theirs.

Published YOND selects blocks by a threshold on the spread of the blurred image and fits by plain
least squares; the statistics used here (`engines.raw.noise.blocks`) measure better on textured
scenes and say how far they can be trusted. Where they cannot, the noise told to the network is
held to what low ISO gives in any camera: too little denoising can be run again, a smeared picture
looks finished.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engines.raw.noise.blocks import SHAPE, TEXTURE_OF_NOISE, join, measure
from engines.raw.noise.fit import fit_line, weighted_line

Array = NDArray[np.float64]

DOUBTFUL = 0.1  # confidence below which the default holds the estimate down
_DEFAULT = (1.0, 3.0)  # K and sigma of a 14-bit camera at a moderate ISO, DN of 16383
_STEP_VARIANCE = 1.0 / 12.0  # DN²: whole numbers alone scatter so much
_LEAST_ELECTRONS = 0.3  # read noise below which no sensor is; a fit that says so has no floor
_TEXTURED = 12.6  # 95 % of blocks with noise alone are below it (chi-square, six degrees)
_KEPT_TEXTURE = 5.5  # mean of `Blocks.texture` of noise alone below that limit
_FLAT_SHARE = 0.1  # of the noise: more scene detail than this is no flat block
_MOST_SHARE = 0.5  # more of it, and what is left after subtracting says little
_PRIOR_ELECTRONS = 4.0  # read noise of a usual sensor, where one brightness is all there is
_ENOUGH = 60  # blocks for a fit of the selected ones
_DRAWN = 3000


@dataclass(frozen=True)
class NoiseEstimate:
    """Noise of one image: var(Y) = K · mean(Y) + sigma², DN above black.

    Attributes:
        K: gain in DN per electron, above 0.
        sigma: read noise in DN, above 0.
        confidence: 0 (a guess) to 1.
        reasons: plain sentences, empty where there is nothing to say.
        means, variances, flat: (n,) blocks of the fit, for drawing; `flat` is a probability.
    """

    K: float
    sigma: float
    confidence: float
    reasons: tuple[str, ...]
    means: Array
    variances: Array
    flat: Array

    def by_hand(self, gain: float, sigma: float) -> NoiseEstimate:
        """The same cloud with the noise that the person gave, which nothing doubts."""
        return replace(self, K=gain, sigma=max(sigma, 1e-3 * gain), confidence=1.0, reasons=())

    def variance(self, mean: Array | float) -> Array:
        """The line at `mean` (DN above black), DN²."""
        return self.K * np.maximum(mean, 0.0) + self.sigma**2


def estimate_self(
    planes: Tensor | Sequence[Tensor], scale: float, clip: float = 1.0
) -> NoiseEstimate:
    """Coarse estimate from the noisy image alone.

    Args:
        planes: (4, h, w) float32 on the CPU, 0 at black and 1 at white, unclamped; or several such
            stacks of planes.
        scale: white minus black in DN.
        clip: level at which the sensor clips, in the units of `planes`.
    """
    stacks = [planes] if isinstance(planes, Tensor) else planes
    blocks = join([measure(stack, scale, clip) for stack in stacks])
    steady = blocks.texture < _TEXTURED
    expected = _KEPT_TEXTURE
    if steady.sum() < _ENOUGH:
        steady[:] = True
        expected = TEXTURE_OF_NOISE
    means, variances = blocks.means[steady], np.maximum(blocks.variances[steady], 1e-6)
    line = fit_line(means, variances, SHAPE)
    if line is None:
        gain, sigma = default_noise(scale)
        why = "There was too little in the picture to measure noise on; a default was used"
        return NoiseEstimate(gain, sigma, 0.0, (why,), means, variances, np.zeros_like(means))
    gain, floor = _physical(line.slope, line.floor, means, variances, line.flat, scale)
    count = float(line.flat.sum())
    texture = float(line.flat @ blocks.texture[steady]) / max(count, 1e-9)
    excess = texture / expected - 1.0
    doubt = max(0.0, excess - 0.5)
    error = line.slope_error / max(gain, 1e-12)
    confidence = _confidence(count, error, excess, line.spread)
    reasons: tuple[str, ...] = ()
    if doubt > 0.0:  # what looks like noise is partly texture
        gain, floor = gain / (1.0 + doubt), floor / (1.0 + doubt)
    if confidence < DOUBTFUL:
        most = default_noise(scale)
        gain, floor = min(gain, most[0]), min(floor, most[1] ** 2)
        reasons = (
            "Hardly any part of this picture is even enough to measure noise on, so it was held "
            "to a cautious default; set K and sigma by hand if noise is left",
        )
    return NoiseEstimate(
        gain, math.sqrt(max(floor, _STEP_VARIANCE)), confidence, reasons,
        *_some(means, variances, line.flat),
    )  # fmt: skip


def estimate_pair(
    pairs: Sequence[tuple[Tensor, Tensor]], scale: float, first: NoiseEstimate, clip: float = 1.0
) -> NoiseEstimate:
    """Refined estimate from noisy tiles and what a first pass made of them.

    Args:
        pairs: (4, h, w) noisy and denoised planes of each tile, as in `estimate_self`.
        scale: white minus black in DN.
        first: the estimate that the first pass was made with.
        clip: as in `estimate_self`.

    Returns:
        The refined estimate, or `first` where too little of the picture is flat, or where the
        refined line lies above the first: taking detail away can only lower it.
    """
    blocks = join([measure(noisy, scale, clip, clean) for noisy, clean in pairs])
    share = blocks.scene / first.variance(blocks.means)
    if share.size < _ENOUGH:
        return first
    flat = share <= max(_FLAT_SHARE, float(np.quantile(share, 0.05)))
    means, variances = blocks.means[flat], (blocks.variances - blocks.scene)[flat]
    if means.size < _ENOUGH or float(share[flat].max()) > _MOST_SHARE:
        return first
    slope, floor, kept, spread = _trimmed(means, variances, first)
    gain, floor = _physical(slope, floor, means, variances, kept, scale)
    sigma = math.sqrt(max(floor, _STEP_VARIANCE))
    centre = float(np.average(means, weights=kept))
    texture = float(np.average(blocks.texture[flat], weights=kept))
    weight = kept * SHAPE / np.maximum(gain * means + floor, 1e-9) ** 2
    error = _slope_error(means, weight) / max(gain, 1e-12)
    # Flat by the denoised picture's word: of those that kept their detail only a part is.
    sure = float(kept.sum()) * min(1.0, _FLAT_SHARE / max(float(share[flat].max()), 1e-9))
    excess = texture / TEXTURE_OF_NOISE - 1.0
    confidence = _confidence(sure, error, excess, spread)
    above = gain * max(centre, 0.0) + floor > 1.1 * float(first.variance(centre))
    if above or confidence < first.confidence * 0.5:
        return first
    return NoiseEstimate(gain, sigma, confidence, (), *_some(means, variances, kept))


def default_noise(scale: float) -> tuple[float, float]:
    """K and sigma (DN) that are assumed where nothing can be measured."""
    share = scale / 16383.0
    return _DEFAULT[0] * share, max(_DEFAULT[1] * share, math.sqrt(_STEP_VARIANCE))


def _confidence(count: float, error: float, excess: float, spread: float) -> float:
    """0 to 1 from the number of flat blocks, the slope's relative error, how much more than noise
    the planes' details have in common, and how well the flat blocks obey the law of pure noise.
    """
    enough = count / (count + 8.0)
    exact = 1.0 / (1.0 + (error / 0.15) ** 2)
    noise = float(np.clip(1.0 - (excess - 0.2), 0.03, 1.0))
    lawful = float(np.clip(1.0 - (spread - 1.25) / 0.75, 0.1, 1.0))
    return enough * exact * noise * lawful


def _physical(
    slope: float, floor: float, means: Array, variances: Array, flat: Array, scale: float
) -> tuple[float, float]:
    """K and sigma² that a sensor can have, where the plain line says otherwise."""
    line = np.maximum(slope * means + floor, 1e-6 * float(np.median(variances)) + 1e-12)
    weight = flat / line**2
    bright = np.maximum(means, 0.0)
    if slope < 2.0 * _slope_error(means, SHAPE * weight):
        # One brightness only, or a slope that noise does not have.
        level = float(np.average(variances, weights=flat + 1e-9))
        mean = float(np.average(bright, weights=flat + 1e-9))
        # K·mean + (electrons·K)² = level
        square = _PRIOR_ELECTRONS**2
        slope = (math.sqrt(mean**2 + 4.0 * square * max(level, 0.0)) - mean) / (2.0 * square)
        slope = max(slope, 1e-3 * default_noise(scale)[0])
        return slope, max(level - slope * mean, _STEP_VARIANCE)
    least = max(_STEP_VARIANCE, (_LEAST_ELECTRONS * slope) ** 2)
    if floor < least:
        # Too few dark blocks to know the floor: the slope alone is fitted, its floor with it.
        square = _LEAST_ELECTRONS**2
        first, second = float(weight @ bright), float(weight @ bright**2)
        both = float(weight @ (bright * variances))
        # Of K·bright + (electrons·K)² the least squares' normal equation, weighted by brightness.
        root = math.sqrt(second**2 + 4.0 * square * first * both)
        slope = 2.0 * both / max(second + root, 1e-300)
        floor = max(_STEP_VARIANCE, square * slope**2)
    return max(slope, 1e-3 * default_noise(scale)[0]), floor


def _trimmed(
    means: Array, variances: Array, first: NoiseEstimate
) -> tuple[float, float, Array, float]:
    """Iterated weighted least squares without the outliers on either side: slope, floor, the
    blocks that were kept (1 or 0), and their scatter over the expected one.
    """
    slope, floor = first.K, first.sigma**2
    kept, spread = np.ones_like(means), 1.0
    for _ in range(30):
        line = np.maximum(slope * means + floor, 1e-3 * floor + 1e-9)
        ratio = variances / line
        middle = float(np.median(ratio))
        width = 1.4826 * float(np.median(np.abs(ratio - middle))) + 1e-9
        kept = (np.abs(ratio - middle) < 3.0 * width).astype(np.float64)
        spread = width * math.sqrt(SHAPE)
        old = slope, floor
        slope, floor = weighted_line(means, variances, kept / line**2)
        if abs(slope - old[0]) <= 1e-5 * abs(slope) and abs(floor - old[1]) <= 1e-5 * abs(floor):
            break
    return slope, floor, kept, spread


def _slope_error(means: Array, weight: Array) -> float:
    total, first, second = weight.sum(), weight @ means, weight @ means**2
    determinant = total * second - first * first
    return float(np.sqrt(total / determinant)) if determinant > 0.0 else math.inf


def _some(means: Array, variances: Array, flat: Array) -> tuple[Array, Array, Array]:
    """Every n-th block, so that a figure or a message stays small."""
    step = max(1, means.size // _DRAWN)
    return means[::step], variances[::step], flat[::step]
