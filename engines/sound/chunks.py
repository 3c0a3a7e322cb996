"""Long recordings in chunks: where they start, and how their results are joined.

Networks that look at a whole chunk (attention, normalisation) answer differently for one of
another length, so all chunks are equally long: the last one starts earlier instead of ending
sooner. Starts are whole multiples of the hop, so that every frame has a number of its own in the
whole recording. What a network makes of a chunk's borders is thrown away (`margin`); then one
result fades into the next (`fade`) with weights that add up to 1, as both are of the same sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]  # (channels, samples)


@dataclass(frozen=True)
class ChunkPlan:
    """How a recording of `total` samples is cut.

    Attributes:
        total: samples of the recording, at least 1.
        hop: chunks start and end at whole multiples of it.
        length: samples of a chunk where the recording is at least as long.
        margin: samples at each end whose result is not used, except at the recording's own ends.
        fade: samples of the crossfade.
        least: a shorter recording is filled up to this.
    """

    total: int
    hop: int
    length: int
    margin: int
    fade: int
    least: int

    @property
    def size(self) -> int:
        """Samples of every chunk, filling included: the same for all, a multiple of the hop."""
        wanted = min(self.length, max(self.total, self.least))
        return -(-wanted // self.hop) * self.hop

    @property
    def step(self) -> int:
        """Samples from one start to the next."""
        step = self.size - 2 * self.margin - self.fade
        return max(step // self.hop * self.hop, self.hop)

    @property
    def count(self) -> int:
        """Number of chunks."""
        return 1 + -(-max(self.total - self.size, 0) // self.step)

    def start(self, number: int) -> int:
        """First sample of a chunk."""
        last = -(-max(self.total - self.size, 0) // self.hop) * self.hop
        return min(number * self.step, last)

    def seam(self, number: int) -> int:
        """Sample at which the fade from chunk `number` to the next begins."""
        return self.start(number) + self.size - self.margin - self.fade


class Cutter:
    """Takes a stream of any block sizes, gives the plan's chunks; keeps one chunk at most."""

    def __init__(self, plan: ChunkPlan) -> None:
        self._plan = plan
        self._next = 0
        self._begin = 0  # sample number of the first one kept
        self._kept: list[Sound] = []
        self._count = 0

    def push(self, block: Sound, last: bool = False) -> Iterator[tuple[int, Sound]]:
        """Add samples (C, n); yields (number, chunk (C, size)) as they become complete.

        `last`: no more follow; what is missing of the last chunk is the sound before, mirrored, so
        that a network meets no silence that is not there.
        """
        self._kept.append(block)
        self._count += block.shape[1]
        if last:
            end = self._plan.start(self._plan.count - 1) + self._plan.size
            missing = end - self._begin - self._count
            if missing > 0:
                whole = np.concatenate(self._kept, axis=1)
                self._kept = [np.pad(whole, ((0, 0), (0, missing)), mode="symmetric")]
                self._count += missing
        while self._next < self._plan.count:
            start = self._plan.start(self._next)
            if self._count < self._plan.size:
                return
            whole = np.concatenate(self._kept, axis=1)
            number = self._next
            self._next += 1
            self._begin = self._plan.start(min(self._next, self._plan.count - 1))
            self._kept = [whole[:, self._begin - start :]]
            self._count = self._kept[0].shape[1]
            yield number, whole[:, : self._plan.size].copy()


class Joiner:
    """Takes the chunks' results in order, gives one stream of exactly the plan's samples."""

    def __init__(self, plan: ChunkPlan) -> None:
        self._plan = plan
        self._tail: Sound | None = None
        up = (np.arange(plan.fade, dtype=np.float32) + 0.5) / np.float32(max(plan.fade, 1))
        self._up = up

    def push(self, number: int, chunk: Sound) -> Sound:
        """Result of chunk `number` (C, size) -> the samples (C, n) that are now final."""
        plan, fade = self._plan, self._plan.fade
        start = plan.start(number)
        begin = 0 if self._tail is None else plan.seam(number - 1) - start
        last = number == plan.count - 1
        end = plan.total - start if last else plan.seam(number) - start
        out = chunk[:, begin:end].copy()
        if self._tail is not None:
            out[:, :fade] = self._tail + self._up * (out[:, :fade] - self._tail)
        self._tail = None if last else chunk[:, end : end + fade].copy()
        return out
