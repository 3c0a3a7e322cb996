"""Samples that wait for what will be known of them later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from engines.sound.chunks import Sound


class Fifo:
    """Samples (C, n) that wait for their turn."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.count = 0
        self._blocks: list[Sound] = []

    def push(self, block: Sound) -> None:
        """Put samples behind those that wait."""
        if block.shape[1]:
            self._blocks.append(block)
            self.count += block.shape[1]

    def pop(self, count: int) -> Sound:
        """Take the first `count` samples, which must be there."""
        taken: list[Sound] = []
        self.count -= count
        while count:
            first = self._blocks[0]
            taken.append(first[:, :count])
            if first.shape[1] > count:
                self._blocks[0] = first[:, count:]
                break
            count -= self._blocks.pop(0).shape[1]
        return np.concatenate(taken, axis=1) if taken else np.zeros((self.channels, 0), np.float32)


def with_end(blocks: Iterable[Sound], channels: int) -> Iterator[tuple[Sound, bool]]:
    """Each block, and whether it is the last."""
    held: Sound | None = None
    for block in blocks:
        if held is not None:
            yield held, False
        held = block
    yield (held if held is not None else np.zeros((channels, 0), np.float32)), True
