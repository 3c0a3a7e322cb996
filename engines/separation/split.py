"""A recording into its sounds, as a stream: blocks in, the same samples of every track out.

Masks come from the network at 16 kHz; they are applied to the spectrogram of the recording at its
own rate, whose phase is kept. Nothing is resampled on that way, so masks that add up to 1 give
tracks that add up to the recording. Memory holds about five seconds, whatever the length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.separation.activity import Activity
from engines.separation.frames import OVERLAP, Frames, Overlap
from engines.separation.masker import Grid, Masker, Seen
from engines.separation.masks import at_strength, shares, unnamed
from engines.separation.params import MaskKind, Mode
from engines.sound.chunks import Sound
from engines.sound.fifo import Fifo, with_end

_AT_ONCE = 64  # frames that are turned back together


@dataclass(frozen=True)
class Rules:
    """What is made of the network's masks.

    Attributes:
        wanted: the first so many masks are of sounds that become tracks.
        unwanted: so many after them are of sounds that must not be in those.
        kind: see `masks.shares`.
        competition: see there.
        strength: see `masks.at_strength`.
        mode: see there.
        noise: the two heads of noise, which come last, become tracks as well.
    """

    wanted: int
    unwanted: int
    kind: MaskKind
    competition: bool
    strength: float
    mode: Mode
    noise: bool

    @property
    def tracks(self) -> int:
        """How many come out."""
        return self.wanted + 2 * self.noise

    def apply(self, seen: Seen, activity: Activity) -> Tensor:
        """(tracks, R, 513, k) masks of some frames, of which `activity` is told."""
        end = self.wanted + self.unwanted
        query, negative, noise = (
            seen.masks[: self.wanted],
            seen.masks[self.wanted : end],
            seen.masks[end:],
        )
        masks, residual = shares(query, negative, kind=self.kind, competition=self.competition)
        activity.add(masks, seen.power)
        applied = at_strength(masks, residual, self.strength, self.mode)
        if self.noise:
            left = (1.0 - applied.sum(dim=0)).clamp(min=0.0)
            applied = torch.cat([applied, unnamed(noise, left)])
        return applied


@dataclass(frozen=True)
class Piece:
    """Some samples: the input (C, n), and every track (S, C, n), float32."""

    before: Sound
    tracks: NDArray[np.float32]


class Splitter:
    """One recording's way into its tracks."""

    def __init__(self, masker: Masker, rules: Rules, rate: int, channels: int) -> None:
        """Of a recording of `channels` at `rate` Hz, which goes through `masker`."""
        self._masker, self._rules, self._channels = masker, rules, channels
        self._grid = Grid(rate, masker.total)
        self._lead = (OVERLAP - 1) * self._grid.hop
        self._frames = Frames(self._grid.length, self._grid.hop, channels, self._lead)
        self._overlaps = [Overlap(self._grid.length, channels) for _ in range(rules.tracks)]
        self._spec: list[Tensor] = []  # frames that wait for their masks
        self._masks: Tensor | None = None  # what is known and still needed
        self._first = self._known = self._next = 0
        self.activity = Activity(rules.wanted)

    def run(self, blocks: Iterable[Sound]) -> Iterator[Piece]:
        """(C, n) blocks of any size -> pieces that together have as many samples."""
        waiting, made = Fifo(self._channels), Fifo(self._rules.tracks * self._channels)
        drop, total = self._lead, 0
        for block, last in with_end(blocks, self._channels):
            waiting.push(block)
            total += block.shape[1]
            silence = -total % self._grid.hop + self._lead if last else 0
            self._spec.append(self._frames.push(block, silence))
            for seen in self._masker.push(block, last):
                self._learn(self._rules.apply(seen, self.activity))
                for out in self._turn_back():
                    made.push(out[:, drop:])
                    drop = max(drop - out.shape[1], 0)
                    yield from self._pieces(waiting, made)
        yield from self._pieces(waiting, made)

    def _learn(self, masks: Tensor) -> None:
        """Put masks behind those that are known."""
        kept = masks if self._masks is None else torch.cat([self._masks, masks], dim=-1)
        self._known += masks.shape[-1]
        # Frame n of the recording lies near the network's n - 1, at the same time.
        needed = max(self._grid.needs(self._next - 1) - 2, self._first)
        self._masks = kept[..., needed - self._first :]
        self._first = needed

    def _turn_back(self) -> Iterator[NDArray[np.float32]]:
        """(S C, n) samples of the frames whose masks are known by now."""
        held = torch.cat(self._spec, dim=2)
        used = 0
        assert self._masks is not None
        while used < held.shape[2]:
            count = min(_AT_ONCE, held.shape[2] - used)
            while count and self._grid.needs(self._next + count - 2) > self._known:
                count -= 1
            if not count:
                break
            numbers = np.arange(self._next - 1, self._next + count - 1)
            spec = held[:, :, used : used + count]
            parts = [
                overlap.push(spec * self._grid.at(numbers, masks, self._first))
                for overlap, masks in zip(self._overlaps, self._masks, strict=True)
            ]
            used += count
            self._next += count
            yield np.concatenate(parts)
        self._spec = [held[:, :, used:].clone()]

    def _pieces(self, waiting: Fifo, made: Fifo) -> Iterator[Piece]:
        count = min(waiting.count, made.count)
        if count:
            tracks = made.pop(count).reshape(self._rules.tracks, self._channels, count)
            yield Piece(waiting.pop(count), tracks)
