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
FOUND = 0.1  # presence from which a sound is said to be there
_WINDOW = 32  # steps, 2 s, of which the fullest tells the presence
_HEARD = 0.1  # share of a step's power that counts as being heard
_FAR = 40.0  # dB below the loudest step, where a share is chance
_BRIDGED, _SHORTEST = 5, 2  # steps: a pause that is none, a sound that is none

Interval = tuple[float, float]


@dataclass(frozen=True)
class Found:
    """What is known of one sound.

    Attributes:
        presence: largest share that it has of the recording's energy in any 2 s, 0 to 1.
        share: of the whole recording's energy, 0 to 1.
        intervals: (start, end) in seconds where it is heard.
    """

    presence: float
    share: float
    intervals: tuple[Interval, ...]

    @property
    def there(self) -> bool:
        """It was found."""
        return self.presence >= FOUND

    @property
    def seconds(self) -> float:
        """How long it is heard."""
        return sum(end - start for start, end in self.intervals)


class Activity:
    """Sums each sound's power step by step: some kilobytes a minute, whatever the rate."""

    def __init__(self, sounds: int) -> None:
        self._steps: list[NDArray[np.float32]] = []
        self._held = torch.zeros(sounds + 1, 0)

    def add(self, masks: Tensor, power: Tensor) -> None:
        """Take frames: masks (Q, R, F, k), and the mixture's power (R, F, k)."""
        of_each = (masks.square() * power).sum(dim=(1, 2))
        both = torch.cat([of_each, power.sum(dim=(0, 1))[None]])
        held = torch.cat([self._held, both], dim=1)
        whole = held.shape[1] // OVERLAP * OVERLAP
        steps = held[:, :whole].reshape(len(held), -1, OVERLAP).sum(dim=2)
        self._held = held[:, whole:]
        self._steps.append(steps.numpy().astype(np.float32))

    def found(self, seconds: float) -> list[Found]:
        """What is known of each sound of a recording so long, once all frames were added."""
        last = self._held.sum(dim=1, keepdim=True).numpy().astype(np.float32)
        power = np.concatenate([*self._steps, last], axis=1).astype(np.float64)
        mixture = power[-1]
        return [_found(one, mixture, seconds) for one in power[:-1]]


def _found(power: NDArray[np.float64], mixture: NDArray[np.float64], seconds: float) -> Found:
    total = float(mixture.sum())
    if total <= 0.0:
        return Found(0.0, 0.0, ())
    audible = mixture > mixture.max() * 10.0 ** (-_FAR / 10.0)
    size = min(_WINDOW, len(mixture))
    ones = np.ones(size)
    around = np.convolve(mixture, ones, mode="valid")
    loud = around > around.max() * 10.0 ** (-_FAR / 10.0)
    parts = np.convolve(power, ones, mode="valid")[loud] / around[loud]
    heard = audible & (power > _HEARD * mixture)
    return Found(float(parts.max()), float(power.sum()) / total, _intervals(heard, seconds))


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
