"""A prior's noise schedule, the times that RED-Diff visits, and the weights of its terms.

ᾱ is shifted by one in the authors' code: time -1 has ᾱ = 1, time 0 is the first step of noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from engines.superres.reddiff.settings import ScheduleSettings

Weighting = Literal["linear", "sqrt", "square", "log", "truncated", "constant", "two-thirds"]
_MOST = 0.999  # of a cosine's β

# Of 1/SNR = √(1-ᾱ)/√ᾱ, the paper's figure 3 and appendix.
_WEIGHTS: dict[Weighting, Callable[[float], float]] = {
    "linear": lambda x: x,
    "sqrt": math.sqrt,
    "square": lambda x: x * x,
    "log": math.log1p,
    "truncated": lambda x: min(x, 1.0),
    "constant": lambda _x: 1.0,
    "two-thirds": lambda x: x ** (2.0 / 3.0),
}


class Schedule:
    """ᾱ by time."""

    def __init__(self, settings: ScheduleSettings) -> None:
        self.steps = settings.steps
        steps = np.arange(settings.steps, dtype=np.float64)
        if settings.kind == "cosine":
            share = np.arange(settings.steps + 1) / settings.steps
            kept = np.cos((share + 0.008) / 1.008 * np.pi / 2)
            betas = np.minimum(1.0 - (kept[1:] / kept[:-1]) ** 2, _MOST)
        elif settings.kind == "scaled_linear":
            root = np.sqrt([settings.start, settings.end])
            betas = (root[0] + (root[1] - root[0]) * steps / (settings.steps - 1)) ** 2
        else:
            betas = settings.start + (settings.end - settings.start) * steps / (settings.steps - 1)
        self._kept = np.concatenate([[1.0], np.cumprod(1.0 - betas)])

    def alpha(self, t: int) -> float:
        """ᾱ at a time from -1 on."""
        return float(self._kept[t + 1])

    def inverse_snr(self, t: int) -> float:
        """√(1-ᾱ)/√ᾱ."""
        alpha = self.alpha(t)
        return math.sqrt((1.0 - alpha) / alpha)

    def weight(self, t: int, kind: Weighting) -> float:
        """w_t without λ."""
        return _WEIGHTS[kind](self.inverse_snr(t))

    def times(self, count: int, together: int = 1) -> list[tuple[int, ...]]:
        """The times of each step of the optimiser, falling.

        The grid is {0, Δ, 2Δ, ...} with Δ = ⌊steps/count⌋, as the authors have it, so that it can
        be a little longer than `count`.

        Args:
            count: steps wanted, 1 to the schedule's own.
            together: times that share one step (the parallel variant); what is left over at the
                end is dropped, as there.
        """
        grid = list(range(0, self.steps, self.steps // count))[::-1]
        groups = max(len(grid) // together, 1)
        return [tuple(grid[n * together : (n + 1) * together]) for n in range(groups)]
