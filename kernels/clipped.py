"""What cutting a sensor's noise off at a floor does to its mean, and how that is undone.

Cameras that take black off and keep nothing below it (phones, older Nikons) cut half of the noise
of black away, which lifts the mean of the rest: by 0.4 of the read noise where there was no light.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_REACH = 6.0  # noises above the floor from which on nothing is cut
_STEPS = 2048


def clipped_mean(light: Tensor, gain: float, sigma: float, floor: float) -> Tensor:
    """Mean of max(Y, floor) where Y has mean `light` and variance gain * light + sigma².

    Args:
        light: DN above black, at least 0.
        gain: K in DN per electron, above 0.
        sigma: read noise in DN, above 0.
        floor: DN above black.
    """
    spread = (gain * light + sigma**2).sqrt()
    above = (light - floor) / spread
    density = (-0.5 * above.square()).exp() / math.sqrt(2.0 * math.pi)
    return floor + (light - floor) * torch.special.ndtr(above) + spread * density


def unclipped_mean(mean: Tensor, gain: float, sigma: float, floor: float) -> Tensor:
    """The light whose cut noise has this mean, the inverse of `clipped_mean`; never below 0.

    Args:
        mean: of any shape, DN above black.
        gain: K in DN per electron, above 0.
        sigma: read noise in DN, above 0.
        floor: DN above black.

    Returns:
        Of the shape and dtype of `mean`, which is unchanged where nothing was cut.
    """
    # Light at which `_REACH` spreads lie between it and the floor.
    half = 0.5 * _REACH**2 * gain
    top = max(floor + half + math.sqrt(half**2 + _REACH**2 * (gain * max(floor, 0.0) + sigma**2)),
              sigma)  # fmt: skip
    light = torch.linspace(0.0, 1.0, _STEPS, dtype=torch.float64).square() * top
    means = clipped_mean(light, gain, sigma, floor)
    found = np.asarray(np.interp(mean.double().numpy(), means.numpy(), light.numpy()))
    return torch.where(mean < float(means[-1]), torch.from_numpy(found).to(mean.dtype), mean)
