"""Samplers of IR-SDE: the paper's hundred small steps, and fewer that need no other training.

All start from μ + λ·ε at T and end at 0. Between them they know two things of a step from t to r:
the mean of x_r given x_t and the network's picture, and what noise is drawn in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, Protocol

import torch
from torch import Tensor

from engines.superres.ediffsr.sde import IrSde

Kind = Literal["paper", "posterior", "ode"]
Draw = Callable[[int], Tensor]  # number of the draw -> standard normal noise, like μ


class CleanEstimate(Protocol):
    """A network that estimates x_0, as `EaNet` does."""

    def clean(self, x: Tensor, mean: Tensor, t: Tensor) -> Tensor:
        """(B, 3, H, W) x_t and μ, (B,) times -> x_0."""
        ...


def grid(sde: IrSde, steps: int) -> tuple[int, ...]:
    """Times T = t_0 > ... > t_steps = 0, even in the logarithm of signal over noise.

    Half of the even steps in time would go where next to nothing of the picture is left.
    """
    if steps >= sde.steps:
        return tuple(range(sde.steps, -1, -1))

    low, high = sde.ratio(sde.steps), sde.ratio(1)
    chosen: list[int] = [sde.steps]
    for number in range(1, steps):
        wanted = low + (high - low) * number / steps
        away = [abs(sde.ratio(t) - wanted) for t in range(1, sde.steps)]
        nearest = 1 + away.index(min(away))
        # No time twice, and one left for each of the steps to come.
        chosen.append(max(min(nearest, chosen[-1] - 1), steps - number))
    return (*chosen, 0)


def sample(
    network: CleanEstimate,
    sde: IrSde,
    mean: Tensor,
    draw: Draw,
    *,
    times: Sequence[int],
    kind: Kind = "posterior",
    after: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """Draw a large picture.

    Args:
        network: estimates x_0.
        sde: its diffusion.
        mean: μ, (B, 3, H, W) in 0..1.
        draw: noise; draw 0 is the start's, draw n that of step n.
        times: falling, from T to 0; see `grid`. "paper" wants every whole number.
        kind: "paper" (Euler steps of the reverse SDE, with noise in the last one too, as the
            authors' code), "posterior" (exact steps of the linear SDE given the estimate, no noise
            in the last), "ode" (probability flow in exponential steps of second order, DPM-Solver++
            2M of Lu et al. 2022; no noise but the start's).
        after: told how many steps are over, after each.

    Returns:
        (B, 3, H, W), not clamped.
    """
    x = mean + sde.largest * draw(0)
    last: tuple[Tensor, float] | None = None
    for number, (t, r) in enumerate(pairwise(times), start=1):
        found = network.clean(x, mean, torch.full((x.shape[0],), t, device=x.device)).float()
        if kind == "paper":
            x = _euler(sde, x, mean, found, t) - sde.sigma(t) * math.sqrt(sde.dt) * draw(number)
        elif kind == "posterior":
            of_x, of_clean, variance = sde.posterior(t, r)
            x = mean + of_x * (x - mean) + of_clean * (found - mean)
            if r:
                x = x + math.sqrt(variance) * draw(number)
        else:
            x, last = _flow(sde, x, mean, found, t, r, last)
        after(number)
    return x


def _euler(sde: IrSde, x: Tensor, mean: Tensor, found: Tensor, t: int) -> Tensor:
    score = -sde.noise(x, mean, found, t) / sde.spread(t)
    return x - (sde.thetas[t] * (mean - x) - sde.sigma(t) ** 2 * score) * sde.dt


def _flow(
    sde: IrSde,
    x: Tensor,
    mean: Tensor,
    found: Tensor,
    t: int,
    r: int,
    last: tuple[Tensor, float] | None,
) -> tuple[Tensor, tuple[Tensor, float]]:
    """One step of the probability flow; `last` is the estimate and length of the step before."""
    if r == 0:
        return found, (found, 0.0)
    length = sde.ratio(r) - sde.ratio(t)
    aimed = found
    if last is not None:
        share = length / (2.0 * last[1])
        aimed = (1.0 + share) * found - share * last[0]
    x = (
        mean
        + sde.spread(r) / sde.spread(t) * (x - mean)
        + sde.kept(r) * (1.0 - math.exp(-length)) * (aimed - mean)
    )
    return x, (found, length)
