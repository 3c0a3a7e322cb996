"""UPSR's sampling: from ȳ with weighted noise to the large picture in a few calls of the U-Net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pixel_unshuffle

from engines.superres.upsr.schedule import Schedule, noise_weight
from engines.superres.upsr.unet import SCALE

SCHEDULE = Schedule.exponential()  # of the published weights, and of ours

Denoise = Callable[[Tensor, Tensor, Tensor], Tensor]  # (x_t scaled, t, condition) -> picture


@dataclass(frozen=True)
class Given:
    """What is known of the large picture before any noise; all in -1..1, (B, 3, 4h, 4w).

    Attributes:
        estimate: ŷ, the regressor's picture.
        cubic: ȳ, PyTorch's cubic enlargement (a = -0.75).
        weight: share of the noise for each value, 0.4..1.
    """

    estimate: Tensor
    cubic: Tensor
    weight: Tensor

    @classmethod
    def of(cls, low: Tensor, estimate: Tensor) -> Given:
        """From the small picture (B, 3, h, w) and the regressor's (B, 3, 4h, 4w), both in 0..1."""
        size = (estimate.shape[-2], estimate.shape[-1])
        cubic = 2.0 * interpolate(low, size, mode="bicubic", align_corners=False) - 1.0
        estimate = 2.0 * estimate - 1.0
        return cls(estimate, cubic, noise_weight(estimate, cubic))


def denoised(
    network: Denoise, x: Tensor, given: Given, schedule: Schedule, index: Tensor
) -> Tensor:
    """The network's estimate of the large picture from x_t, in -1..1.

    `x` is (B, 3, 4h, 4w), `index` (B,) int64: steps of the schedule.
    """
    scales = torch.tensor([schedule.scale(i) for i in range(schedule.steps)], device=x.device)
    times = torch.tensor(schedule.times, device=x.device)
    scaled = x / scales[index].reshape(-1, 1, 1, 1)
    condition = pixel_unshuffle(torch.cat([given.estimate, given.cubic], dim=1), SCALE)
    return network(pixel_unshuffle(scaled, SCALE), times[index], condition)


def sample(
    network: Denoise,
    given: Given,
    noise: Tensor,
    *,
    schedule: Schedule = SCHEDULE,
    after: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """Walk back without new noise (DDIM), as the authors do; one step is the first call alone.

    Args:
        network: see `UpsrUnet.forward`.
        given: the small picture's part.
        noise: (B, 3, 4h, 4w) standard normal.
        schedule: the steps to take.
        after: told how many steps are over, after each.

    Returns:
        (B, 3, 4h, 4w) in 0..1, clamped.
    """
    x = schedule.start(given.cubic, given.weight, noise)
    for index in reversed(range(schedule.steps)):
        x = advance(network, x, given, schedule, index)
        after(schedule.steps - index)
    return (x.clamp(-1.0, 1.0) + 1.0) / 2.0


def advance(network: Denoise, x: Tensor, given: Given, schedule: Schedule, index: int) -> Tensor:
    """One step of the walk: x_t of the schedule's step `index` -> that before it, in -1..1."""
    at = torch.full((x.shape[0],), index, device=x.device)
    found = denoised(network, x, given, schedule, at)
    return schedule.back(x, found, given.cubic, index)
