"""Samplers: from a noisy spectrogram to a clean one, given a network as a callable.

Nothing here knows a network. A `Score` or `Denoise` is called as f(x_t, y, t) with x_t and y
[B, ...] and t [B] in float32; more conditions (StoRM's noisy input beside its estimate) are the
caller's closure. Every draw of noise has a running number, so that a caller can give overlapping
chunks the same field and a seed fixes the result; `check` runs before every call of the network
(it raises to cancel), `calls(done, all)` after it. `join` sees the state after every step, for
instance to average what chunks share. Coefficients are computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from engines.speech.sde import OUVE, SBVE

Network = Callable[[Tensor, Tensor, Tensor], Tensor]
Noise = Callable[[int, torch.Size], Tensor]
Corrector = Literal["annealed-langevin", "langevin", "none"]
Predictor = Literal["reverse-diffusion", "euler-maruyama", "ancestral"]
StepRule = Literal["grid", "uniform"]
Solver = Literal["dpm-solver++", "heun"]
Check = Callable[[], None]
Calls = Callable[[int, int], None]
Join = Callable[[Tensor], Tensor]

T_EPS = 0.03  # training saw no earlier time


def no_check() -> None:
    """Never cancels."""


def no_report(done: int, every: int) -> None:
    """Tells nobody."""


def as_is(x: Tensor) -> Tensor:
    """Joins nothing."""
    return x


def predictor_corrector_calls(steps: int, corrector: Corrector, corrector_steps: int = 1) -> int:
    """How often `predictor_corrector` will call the network."""
    return steps * (1 + (0 if corrector == "none" else corrector_steps))


def probability_flow_calls(steps: int, solver: Solver) -> int:
    """How often `probability_flow` will call the network."""
    return steps if solver == "dpm-solver++" else 2 * steps - 1


class _Counted:
    """A network that is asked at a number for the time, checks for cancelling and counts."""

    def __init__(self, network: Network, y: Tensor, every: int, check: Check, calls: Calls) -> None:
        self._network, self._y, self._every = network, y, every
        self._check, self._calls, self._done = check, calls, 0

    def __call__(self, x: Tensor, t: float) -> Tensor:
        self._check()
        times = torch.full((x.shape[0],), t, dtype=torch.float32, device=x.device)
        found = self._network(x, self._y, times)
        self._done += 1
        self._calls(self._done, self._every)
        return found


class _Draws:
    """Numbers the draws of noise from 0."""

    def __init__(self, noise: Noise, like: Tensor) -> None:
        self._noise, self._shape, self._next = noise, like.shape, 0

    def __call__(self) -> Tensor:
        self._next += 1
        return self._noise(self._next - 1, self._shape)


def _times(start: float, end: float, count: int) -> list[float]:
    return torch.linspace(start, end, count, dtype=torch.float64).tolist()


def predictor_corrector(
    score: Network,
    y: Tensor,
    sde: OUVE,
    *,
    noise: Noise,
    steps: int = 30,
    snr: float = 0.5,
    corrector: Corrector = "annealed-langevin",
    corrector_steps: int = 1,
    predictor: Predictor = "reverse-diffusion",
    step_rule: StepRule = "grid",
    start: float = 1.0,
    origin: Tensor | None = None,
    t_eps: float = T_EPS,
    check: Check = no_check,
    calls: Calls = no_report,
    join: Join = as_is,
) -> Tensor:
    """SGMSE+'s sampler: at every time a Langevin step, then a step of the reverse SDE.

    Algorithm 1 of Richter et al. 2023; the corrector goes first, as in the official code. The
    last step draws no noise.

    Args:
        score: (x_t, y, t) -> gradient of the log density, scaled so that s(t) score = -z.
        y: what the mean drifts to, [B, ...] complex64 (StoRM: the predictive estimate).
        sde: the forward process.
        noise: (number of the draw, shape) -> standard noise of y's dtype on y's device.
        steps: times visited, at least 1.
        snr: length of a corrector's step, above 0; ignored without one.
        corrector: "annealed-langevin" (step from s(t)), "langevin" (step from the ratio of the
            norms of noise and score, for each item) or "none".
        corrector_steps: corrector's steps at each time.
        predictor: "reverse-diffusion"; "euler-maruyama", which for this SDE differs in that its
            step is always uniform; or "ancestral", a draw from the posterior given the estimate
            of x0: the mean is right after few steps, the spread then too small.
        step_rule: "grid": the step is the distance to the next time (SGMSE+ since 2024);
            "uniform": `start`/`steps` on the same times (older SGMSE+, StoRM).
        start: first time; below 1 is a warm start.
        origin: mean of the first state; y by default, an estimate of x0 at a warm start.
        t_eps: last time at which the network is asked.
        check: raises to cancel.
        calls: told (calls done, calls in all).
        join: (state) -> state after every step.

    Returns:
        The estimate of x0, shape and dtype of y.
    """
    ask = _Counted(
        score, y, predictor_corrector_calls(steps, corrector, corrector_steps), check, calls
    )
    draw = _Draws(noise, y)
    times = _times(start, t_eps, steps)
    x = sde.prior(y if origin is None else origin, draw(), start)
    mean = x
    for number, t in enumerate(times):
        for _ in range(0 if corrector == "none" else corrector_steps):
            found, z = ask(x, t), draw()
            if corrector == "annealed-langevin":
                size = torch.tensor(2 * (snr * float(sde.std(t))) ** 2)
            else:
                size = 2 * (snr * _norm(z) / _norm(found)) ** 2
            size = size.to(x.device, x.real.dtype)
            x = x + size * found + torch.sqrt(2 * size) * z
        last = number == steps - 1
        found = ask(x, t)
        if predictor == "ancestral":
            mean, spread = _ancestral(sde, x, y, found, t, 0.0 if last else times[number + 1])
        else:
            even = step_rule == "uniform" or predictor == "euler-maruyama"
            step = start / steps if even else t if last else t - times[number + 1]
            gain = float(sde.diffusion(t)) ** 2 * step
            mean, spread = x - step * sde.drift(x, y, t) + gain * found, gain**0.5
        x = join(mean if last else mean + spread * draw())
    return x


def _norm(x: Tensor) -> Tensor:
    """Euclidean norm of each item, so that its step does not depend on its neighbours."""
    norm = torch.linalg.vector_norm(x.flatten(1), dim=1).clamp_min(1e-12)
    return norm.reshape(-1, *(1,) * (x.ndim - 1))


def _clean(sde: OUVE, x: Tensor, y: Tensor, score: Tensor, t: float) -> Tensor:
    """Estimate of x0 that a score stands for (Tweedie)."""
    decay = float(sde.decay(t))
    return (x + float(sde.std(t)) ** 2 * score - (1 - decay) * y) / decay


def _ancestral(
    sde: OUVE, x: Tensor, y: Tensor, score: Tensor, t: float, to: float
) -> tuple[Tensor, float]:
    """Mean and standard deviation of x_to given x_t and the estimate of x0."""
    clean = _clean(sde, x, y, score, t)
    here, there = float(sde.std(t)) ** 2, float(sde.std(to)) ** 2
    kept = float(sde.decay(t - to))
    gain = kept * there / here
    mean = sde.mean(clean, y, to) + gain * (x - sde.mean(clean, y, t))
    return mean, max(there * (1 - gain * kept), 0.0) ** 0.5


def probability_flow(
    score: Network,
    y: Tensor,
    sde: OUVE,
    *,
    noise: Noise,
    steps: int = 10,
    solver: Solver = "dpm-solver++",
    start: float = 1.0,
    origin: Tensor | None = None,
    t_eps: float = T_EPS,
    check: Check = no_check,
    calls: Calls = no_report,
    join: Join = as_is,
) -> Tensor:
    """The ODE with the same marginals: noise at the start only, and few calls of the network.

    Both solvers end with the estimate of x0 at `t_eps`. "dpm-solver++" (Lu et al. 2022, the
    second-order multistep rule, written here for a mean that drifts to y) takes `steps` calls;
    "heun" (Karras et al. 2022), 2 `steps` - 1. The other arguments are those of
    `predictor_corrector`.
    """
    ask = _Counted(score, y, probability_flow_calls(steps, solver), check, calls)
    x = sde.prior(y if origin is None else origin, noise(0, y.shape), start)
    times = _times(start, t_eps, steps)
    solve = _multistep if solver == "dpm-solver++" else _heun
    return solve(ask, x, y, sde, times, join)


def _multistep(
    ask: _Counted, x: Tensor, y: Tensor, sde: OUVE, times: list[float], join: Join
) -> Tensor:
    """In terms of r = (x - y) / s and a = decay / s: dr = (x0 - y) da, x0 linear in ln a."""

    def log_ratio(t: float) -> float:
        return float(torch.log(sde.decay(t) / sde.std(t)))

    before: Tensor | None = None
    for number, t in enumerate(times):
        clean = _clean(sde, x, y, ask(x, t), t)
        if number == len(times) - 1:
            return join(clean)
        to = times[number + 1]
        ahead = clean
        if before is not None:
            width = log_ratio(to) - log_ratio(t)
            earlier = log_ratio(t) - log_ratio(times[number - 1])
            ahead = clean + (clean - before) * (width / (2 * earlier))
        scale = float(sde.std(to) / sde.std(t))
        x = y + scale * (x - y) + (float(sde.decay(to)) - scale * float(sde.decay(t))) * (ahead - y)
        x, before = join(x), clean
    return x


def _heun(ask: _Counted, x: Tensor, y: Tensor, sde: OUVE, times: list[float], join: Join) -> Tensor:
    def slope(at: Tensor, score: Tensor, t: float) -> Tensor:
        return sde.drift(at, y, t) - 0.5 * float(sde.diffusion(t)) ** 2 * score

    for t, to in pairwise(times):
        here = slope(x, ask(x, t), t)
        guess = x + (to - t) * here
        x = join(x + (to - t) / 2 * (here + slope(guess, ask(guess, to), to)))
    return join(_clean(sde, x, y, ask(x, times[-1]), times[-1]))


def bridge(
    denoise: Network,
    y: Tensor,
    sde: SBVE,
    *,
    steps: int = 5,
    kind: Literal["ode", "sde"] = "ode",
    noise: Noise | None = None,
    exact_first_step: bool = True,
    query: Literal["current", "next"] = "current",
    earliest: float = T_EPS,
    end: float = 1e-4,
    check: Check = no_check,
    calls: Calls = no_report,
    join: Join = as_is,
) -> Tensor:
    """The Schroedinger bridge's samplers (Jukic et al. 2024, eqs. 14 and 15).

    Args:
        denoise: (x_t, y, t) -> estimate of x0.
        y: the noisy end, [B, ...] (around a predictive network: its estimate).
        sde: the bridge.
        steps: calls of the network, at least 1; with 1 the result is the estimate at t = 1.
        kind: "ode" (no noise at all) or "sde".
        noise: (number of the draw, shape) -> standard noise; asked by "sde" alone.
        exact_first_step: True: no guards in the coefficients, so that their sum is 1 in every
            step; False: as in the official code, whose first step is off (by 0.05 for 5 steps).
        query: time that the network is told: "current", that of the state, or "next", that of
            the step's end, as in the official code.
        earliest: times told are never below this one; training saw none.
        end: time at which sampling ends.
        check: raises to cancel.
        calls: told (calls done, calls in all).
        join: (state) -> state after every step.

    Returns:
        The estimate of x0, shape and dtype of y.

    Raises:
        ValueError: kind "sde" without noise.
    """
    if kind == "sde" and noise is None:
        raise ValueError("the stochastic bridge draws noise: give it some")
    ask = _Counted(denoise, y, steps, check, calls)
    draw = _Draws(noise, y) if noise is not None else None
    times = _times(1.0, end, steps + 1)
    weigh = bridge_ode_weights if kind == "ode" else bridge_sde_weights
    x = y
    for t, to in pairwise(times):
        clean = ask(x, max(t if query == "current" else to, earliest))
        of_x, of_clean, of_y, of_noise = weigh(sde.exact() if exact_first_step else sde, t, to)
        x = of_x * x + of_clean * clean + of_y * y
        if draw is not None and kind == "sde" and to != times[-1]:
            x = x + of_noise * draw()
        x = join(x)
    return x


def bridge_ode_weights(sde: SBVE, t: float, to: float) -> tuple[float, float, float, float]:
    """Weights of (x_t, estimate of x0, y, noise) in the ODE's step from t to `to` below t."""
    guard, end = sde.guard, float(sde.variance(1.0))
    left, left_to = float(sde.variance_left(t)) ** 0.5, float(sde.variance_left(to)) ** 0.5
    past, past_to = float(sde.variance(t)) ** 0.5, float(sde.variance(to)) ** 0.5
    if left == 0.0:  # at t = 1, where x_t is y: the limit of what follows
        return 0.0, left_to**2 / end, past_to**2 / end, 0.0
    of_x = past_to * left_to / (past * left + guard)
    of_clean = (left_to**2 - left * past_to * left_to / (past + guard)) / (end + guard)
    of_y = (past_to**2 - past * past_to * left_to / (left + guard)) / (end + guard)
    return of_x, of_clean, of_y, 0.0


def bridge_sde_weights(sde: SBVE, t: float, to: float) -> tuple[float, float, float, float]:
    """Weights of (x_t, estimate of x0, y, noise) in the SDE's step from t to `to` below t."""
    past_to = float(sde.variance(to))
    kept = past_to / (float(sde.variance(t)) + sde.guard)
    return kept, 1 - kept, 0.0, (past_to * (1 - kept)) ** 0.5
