"""Samplers of IR-SDE: the paper's hundred small steps, and fewer that need no other training.

All start from μ + λ·ε at T and end at 0. Between them they know two things of a step from t to r:
the mean of x_r given x_t and the network's picture, and what noise is drawn in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
    state: Tensor | None = None
    for number in range(1, len(times)):
        state = advance(network, sde, state, mean, draw, times=times, number=number, kind=kind)
        after(number)
    assert state is not None
    return state


def advance(
    network: CleanEstimate,
    sde: IrSde,
    state: Tensor | None,
    mean: Tensor,
    draw: Draw,
    *,
    times: Sequence[int],
    number: int,
    kind: Kind,
) -> Tensor:
    """Take one step, `number` from 1; other arguments as of `sample`.

    Args:
        network: see `sample`.
        sde: likewise.
        state: what the step before gave, None before the first.
        mean: see `sample`.
        draw: likewise.
        times: likewise.
        number: of the step, from 1.
        kind: see `sample`.

    Returns:
        x, (B, 3, H, W); with "ode" the step's estimate behind it, (B, 6, H, W), until the last.
    """
    x = mean + sde.largest * draw(0) if state is None else state[:, :3]
    t, r = times[number - 1], times[number]
    found = network.clean(x, mean, torch.full((x.shape[0],), t, device=x.device)).float()
    if kind == "paper":
        return _euler(sde, x, mean, found, t) - sde.sigma(t) * math.sqrt(sde.dt) * draw(number)
    if kind == "posterior":
        of_x, of_clean, variance = sde.posterior(t, r)
        x = mean + of_x * (x - mean) + of_clean * (found - mean)
        return x + math.sqrt(variance) * draw(number) if r else x
    if r == 0:
        return found
    length = sde.ratio(r) - sde.ratio(t)
    aimed = found
    if state is not None:
        share = length / (2.0 * (sde.ratio(t) - sde.ratio(times[number - 2])))
        aimed = (1.0 + share) * found - share * state[:, 3:]
    x = (
        mean
        + sde.spread(r) / sde.spread(t) * (x - mean)
        + sde.kept(r) * (1.0 - math.exp(-length)) * (aimed - mean)
    )
    return torch.cat([x, found], dim=1)


def _euler(sde: IrSde, x: Tensor, mean: Tensor, found: Tensor, t: int) -> Tensor:
    score = -sde.noise(x, mean, found, t) / sde.spread(t)
    return x - (sde.thetas[t] * (mean - x) - sde.sigma(t) ** 2 * score) * sde.dt
