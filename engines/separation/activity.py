"""When each sound is heard, and whether it is there at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.separation.frames import OVERLAP
from engines.separation.model import HOP, RATE

STEP = 4 * HOP / RATE  # seconds of one step of a timeline, 64 ms
FOUND = 0.2  # share of the energy from which a sound is said to be there: 82 % of those that are
_WINDOW = 32  # steps, 2 s, of which the fullest tells the presence
_HEARD = 0.1  # share of a step's power that counts as being heard
_FAR = 40.0  # dB below the loudest step, where a share is chance
_BRIDGED, _SHORTEST = 5, 2  # steps: a pause that is none, a sound that is none

Interval = tuple[float, float]


@dataclass(frozen=True)
class Found:
    """What is known of one sound.

    Attributes:
        presence: how clearly it is heard where it is heard most, 0 to 1: the largest share of the
            energy that it has in any 2 s.
        share: of the whole recording's energy, 0 to 1.
        intervals: (start, end) in seconds where it is heard.
        there: it was found.
    """

    presence: float
    share: float
    intervals: tuple[Interval, ...]
    there: bool

    @property
    def seconds(self) -> float:
        """How long it is heard."""
        return sum(end - start for start, end in self.intervals)


class Activity:
    """Sums each sound's power step by step: some kilobytes a minute, whatever the rate."""

    def __init__(self, sounds: int) -> None:
        self._steps: list[NDArray[np.float32]] = []
        self._sounds = sounds
        self._held = torch.zeros(sounds + 1, 0)

    def add(self, masks: Tensor, power: Tensor) -> None:
        """Take frames: masks (Q, R, F, k) and the mixture's power (R, F, k)."""
        of_each = (masks.square() * power).sum(dim=(1, 2))
        rows = torch.cat([of_each, power.sum(dim=(0, 1))[None]])
        held = torch.cat([self._held, rows], dim=1)
        whole = held.shape[1] // OVERLAP * OVERLAP
        steps = held[:, :whole].reshape(len(held), -1, OVERLAP).sum(dim=2)
        self._held = held[:, whole:]
        self._steps.append(steps.numpy().astype(np.float32))

    def found(self, seconds: float) -> list[Found]:
        """What is known of each sound of a recording so long, once all frames were added."""
        last = self._held.sum(dim=1, keepdim=True).numpy().astype(np.float32)
        last = last[:, : self._held.shape[1]]  # nothing, where all were whole steps
        steps = np.concatenate([*self._steps, last], axis=1).astype(np.float64)
        return [_found(steps[place], steps[-1], seconds) for place in range(self._sounds)]


def _found(power: NDArray[np.float64], mixture: NDArray[np.float64], seconds: float) -> Found:
    total = float(mixture.sum())
    if total <= 0.0:
        return Found(0.0, 0.0, (), there=False)
    share = float(power.sum()) / total
    audible = mixture > mixture.max() * 10.0 ** (-_FAR / 10.0)
    size = min(_WINDOW, len(mixture))
    ones = np.ones(size)
    around = np.convolve(mixture, ones, mode="valid")
    loud = around > around.max() * 10.0 ** (-_FAR / 10.0)
    presence = float((np.convolve(power, ones, mode="valid")[loud] / around[loud]).max())
    intervals = _intervals(audible & (power > _HEARD * mixture), seconds)
    return Found(presence, share, intervals, there=presence >= FOUND)


def _intervals(heard: NDArray[np.bool_], seconds: float) -> tuple[Interval, ...]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], heard, [False]]).astype(np.int8)))
    runs: list[list[int]] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if runs and start - runs[-1][1] <= _BRIDGED:
            runs[-1][1] = int(end)
        else:
            runs.append([int(start), int(end)])
    # Step n is centred on its four frames, whose middles lie at 0, 16, 32 and 48 ms after n STEP.
    return tuple(
        (max(start * STEP - 0.5 * HOP / RATE, 0.0), min(end * STEP - 0.5 * HOP / RATE, seconds))
        for start, end in runs
        if end - start >= _SHORTEST
    )


def merged(found: Sequence[Found], most: int) -> list[list[Interval]]:
    """Intervals for drawing, no more than `most` a sound: the shortest pauses are closed."""
    drawn: list[list[Interval]] = []
    for one in found:
        intervals = list(one.intervals)
        if len(intervals) > most:
            pauses = np.array([b[0] - a[1] for a, b in pairwise(intervals)])
            limit = np.sort(pauses)[len(intervals) - most - 1]
            joined = [intervals[0]]
            for interval, pause in zip(intervals[1:], pauses, strict=True):
                if pause <= limit:
                    joined[-1] = (joined[-1][0], interval[1])
                else:
                    joined.append(interval)
            intervals = joined
        drawn.append(intervals)
    return drawn
