"""Upscalers that walk in steps, and the walk of a picture of many tiles.

Tiles that each walk alone drift apart, and blending them at the end shows where: detail doubles
and fades where they overlap. So each step is taken over the whole picture before the next, and
tiles are blended inside it (MultiDiffusion, Bar-Tal et al., ICML 2023); every tile then goes on
from what its neighbours found. What goes from step to step lies in files, as half floats.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import numpy as np
from torch import Tensor

from engines.superres.meter import Meter, Pass
from engines.superres.rows import Canvas, Merged, Picked, Sink, Source, pump
from engines.superres.tiles import Tiler, channel_groups, count_tiles, window
from engines.superres.upscaler import Steps, Tiling, Upscaler


class Stepwise(ABC):
    """An `Upscaler` in steps.

    Attributes:
        first: gives what all steps are told, of the same factor.
        count: steps, at least 1.
        width: channels of what goes from one step to the next.
    """

    first: Upscaler
    count: int
    width: int = 3

    def __init__(self, steps: Steps) -> None:
        """`steps` is told of each, and asked whether to stop."""
        self._steps = steps

    @property
    @abstractmethod
    def scale(self) -> int:
        """See `Upscaler`."""

    @property
    @abstractmethod
    def tiling(self) -> Tiling:
        """See `Upscaler`."""

    @abstractmethod
    def step(
        self, number: int, lr: Tensor, known: Tensor, state: Tensor | None,
        place: tuple[int, int], full: bool,
    ) -> Tensor:  # fmt: skip
        """Take one step on a tile.

        Args:
            number: of the step, from 0.
            lr: (1, 3, h, w) RGB in 0..1.
            known: (1, 3, h·scale, w·scale) what `first` made of it.
            state: (1, width, h·scale, w·scale) what the step before gave, None at the first.
            place: see `Upscaler.upscale`.
            full: likewise.

        Returns:
            Like `state`; after the last step (1, 3, h·scale, w·scale) RGB.
        """

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        """All steps on a picture of one tile; see `Upscaler`."""
        known = self.first.upscale(lr, place, full)
        state: Tensor | None = None
        for number in range(self.count):
            self._steps.check()
            self._steps.step(number, self.count)
            state = self.step(number, lr, known, state, place, full)
        assert state is not None
        return state


class _One:
    """One step as an `Upscaler`; it knows where in the picture's files a tile lies."""

    def __init__(
        self, whole: Stepwise, number: int, known: Source, state: Source | None,
        origin: tuple[int, int],
    ) -> None:  # fmt: skip
        self._whole, self._number, self._origin = whole, number, origin
        self._known, self._state = known, state
        self.scale, self.tiling = whole.scale, whole.tiling

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        y, x = (self.scale * (at - begin) for at, begin in zip(place, self._origin, strict=True))
        bounds = (y, y + self.scale * lr.shape[2], x, x + self.scale * lr.shape[3])
        known, state = (
            None if one is None else window(one, *bounds)[None].to(lr.device)
            for one in (self._known, self._state)
        )
        assert known is not None
        return self._whole.step(self._number, lr, known, state, place, full)


@dataclass(frozen=True)
class Walk:
    """The walk of a picture of several tiles.

    Attributes:
        source: the picture.
        stage: what enlarges it.
        wanted: side of a tile, 0 for automatic.
        file: name of a file -> where to put it.
        meter: counts tiles and stops at them.
        device: torch device of tiles.
        name: of the picture, for sentences.
        origin: (y, x) of the source's first pixel in the picture that places belong to.
    """

    source: Source
    stage: Stepwise
    wanted: int
    file: Callable[[str], Path]
    meter: Meter
    device: str
    name: str
    origin: tuple[int, int]

    def run(self, sink: Sink) -> None:
        """Enlarge everything.

        Raises:
            UserError: see `Tiler.run`.
            Cancelled: passed through.
        """
        channels = self.source.channels
        if channels == 3:
            self._three(self.source, sink)
            return
        groups = channel_groups(channels)
        parts: list[Canvas] = []
        for number, group in enumerate(groups):
            parts.append(Canvas(self.file(f"part{number}"), 3, self._large))
            self._three(Picked(self.source, group), parts[-1])
        pump(Merged(parts, groups, channels), sink, self.meter.check)
        for part in parts:
            part.remove()

    def _three(self, source: Source, sink: Sink) -> None:
        """Three channels of the picture."""
        stage = self.stage
        known = self._canvas("known", 3)
        self._tiles(stage.first, source, known)
        state: Canvas | None = None
        for number in range(stage.count - 1):
            last, state = state, self._canvas(f"step{number % 2}", stage.width)
            self._tiles(self._one(number, known, last), source, state, stage.width)
            if last is not None:
                last.remove()
        self._tiles(self._one(stage.count - 1, known, state), source, sink)
        for canvas in (known, state):
            if canvas is not None:
                canvas.remove()

    def _one(self, number: int, known: Source, state: Source | None) -> _One:
        return _One(self.stage, number, known, state, self.origin)

    def _tiles(self, upscaler: Upscaler, source: Source, sink: Sink, state: int = 0) -> None:
        Tiler(
            source, upscaler, self.meter, device=self.device, name=self.name, wanted=self.wanted,
            origin=self.origin, state=state,
        ).run(sink)  # fmt: skip
        self.meter.next_pass()

    @property
    def _large(self) -> tuple[int, int]:
        height, width = self.source.size
        return height * self.stage.scale, width * self.stage.scale

    def _canvas(self, name: str, channels: int) -> Canvas:
        return Canvas(self.file(name), channels, self._large, np.float16)


def walks(stage: Upscaler, size: tuple[int, int], wanted: int) -> TypeGuard[Stepwise]:
    """Whether an upscaler has steps to take over a picture of (height, width) with many tiles."""
    return isinstance(stage, Stepwise) and count_tiles(size, 3, stage, wanted) > 1


def passes(
    stage: Upscaler, size: tuple[int, int], channels: int, wanted: int, text: str
) -> list[Pass]:
    """What the meter is told of a stage; a walk goes over the picture once more than it has steps.

    `text` names the stage where it is one pass.
    """

    def one(upscaler: Upscaler, channels: int, text: str) -> Pass:
        count = count_tiles(size, channels, upscaler, wanted)
        return Pass(count, size[0] * size[1] / count, text)

    if not walks(stage, size, wanted):
        return [one(stage, channels, text)]
    steps = [one(stage, 3, f"step {number + 1} of {stage.count}") for number in range(stage.count)]
    return len(channel_groups(channels)) * [one(stage.first, 3, "estimate"), *steps]


def room(stage: Stepwise, size: tuple[int, int], channels: int) -> int:
    """Bytes of the disk that a walk takes at most besides its result; `size` is the input's."""
    states = stage.width * min(stage.count - 1, 2)
    parts = 0 if channels == 3 else 3 * len(channel_groups(channels))
    return size[0] * size[1] * stage.scale**2 * (2 * (3 + states) + 4 * parts)
