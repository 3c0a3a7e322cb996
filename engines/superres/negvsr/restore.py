"""One sequence through the network: cleaned, then enlarged tile by tile into a file.

Cleaning is exact in tiles, and goes by the whole sequence how often it is done. The propagation
looks far, so its tiles overlap and are blended. Frames of the result lie in one file as half
floats, so that memory holds no more than the sequence at the input's size and one tile's features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.media.video_read import Pixels
from engines.superres.negvsr.net import PASSES, SCALE, NegVsr
from engines.superres.precision import mixed
from engines.superres.rows import Levels
from engines.superres.tiles import Span, plan, tile_side, window
from engines.superres.upscaler import Tiling

_OVERLAP = 32  # pixels of the input that two tiles share
_LEAST = 64  # pixels of a tile's side, as the authors demand
_SIDES = {True: 256, False: 160}  # of a tile on a CPU, for light networks and others
_LIGHT = 32  # channels
_CUDA = 512
_FEATURES = 64  # maps of the input's size that a frame's enlarging takes, about
_STEPS = 5  # see `BasicVsr.forward`

Halves = NDArray[np.float16]


class Stack:
    """Frames of a result in a file."""

    def __init__(self, path: Path, count: int, size: tuple[int, int]) -> None:
        """`count` black ones of (height, width)."""
        self._path = path
        path.unlink(missing_ok=True)
        self._frames = np.memmap(path, np.float16, "w+", shape=(count, 3, *size))

    def add(self, top: int, left: int, part: Tensor) -> None:
        """Add a part of all frames: (T, 3, h, w) on the CPU."""
        height, width = part.shape[-2:]
        for frame, one in zip(self._frames, part, strict=True):
            frame[:, top : top + height, left : left + width] += one.numpy().astype(np.float16)

    def frame(self, number: int) -> Planes:
        """One of them."""
        return Planes(self._frames[number])

    def remove(self) -> None:
        """Delete the file."""
        del self._frames
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Planes:
    """(3, h, w) half floats as an `engines.superres.rows.Source`."""

    values: Halves

    @property
    def size(self) -> tuple[int, int]:
        """See `Source`."""
        return self.values.shape[1], self.values.shape[2]

    @property
    def channels(self) -> int:
        """See `Source`."""
        return 3

    def window(self, top: int, bottom: int, left: int, right: int) -> Tensor:
        """See `Source`."""
        return torch.from_numpy(self.values[:, top:bottom, left:right].astype(np.float32))


@dataclass(frozen=True)
class Restorer:
    """What a sequence is worked on with.

    Attributes:
        network: on its device.
        device: of the network.
        cleaning: share of what is found to be taken off that is taken off.
        threshold: see `NegVsr.clean`.
        tile: side of a tile; 0 is automatic.
        scratch: the file that `Stack` is in.
        step: called with the share of a sequence that is done; raises to stop.
    """

    network: NegVsr
    device: str
    cleaning: float
    threshold: float
    tile: int
    scratch: Path
    step: Callable[[float], None]

    @torch.no_grad()
    def run(self, frames: list[Pixels]) -> Stack:
        """Enlarge frames, (h, w, 3) of integers each, to four times the size."""
        small: list[Halves] = []
        for one in frames:
            white = float(np.iinfo(one.dtype).max)
            whole = Levels(one, white).window(0, one.shape[0], 0, one.shape[1])
            small.append(whole.numpy().astype(np.float16))
        begun = self._clean(small)
        return self._enlarge(small, begun)

    def _clean(self, frames: list[Halves]) -> float:
        """Clean them in their place; gives the share of the work that this was."""
        share = 0.2 if self.cleaning else 0.0
        radius = self.network.cleaning_radius
        for number in range(PASSES if self.cleaning else 0):
            total = 0.0
            for at, frame in enumerate(frames):
                found = np.empty_like(frame)
                for row, column in self._tiles(frame, Tiling(halo=radius, tile=self._side(1))):
                    region = _window(frame, row, column)[None].to(self.device)
                    with mixed(region.device):
                        added = self.network.residue(region)[0].float().cpu()
                    part = _kept(added, row, column)
                    total += float(part.abs().sum(dtype=torch.float64))
                    place = (slice(None), slice(*row.keep), slice(*column.keep))
                    found[place] = frame[place] + (self.cleaning * part).numpy()
                    self.step(share * (number + (at + 1) / len(frames)) / PASSES)
                frames[at] = found
            if total / (len(frames) * frames[0].size) < self.threshold / 255.0:
                break
        return share

    def _enlarge(self, frames: list[Halves], begun: float) -> Stack:
        height, width = frames[0].shape[1:]
        stack = Stack(self.scratch, len(frames), (height * SCALE, width * SCALE))
        tiling = Tiling(halo=None, tile=self._side(len(frames)), overlap=_OVERLAP)
        tiles = list(self._tiles(frames[0], tiling))
        done, total = 0, _STEPS * len(frames) * len(tiles)

        def step() -> None:
            nonlocal done
            done += 1
            self.step(begun + (1.0 - begun) * min(done / total, 1.0))

        for row, column in tiles:
            region = torch.stack([_window(frame, row, column, _LEAST) for frame in frames])
            seen = region[None].to(self.device)
            flows = self.network.basicvsr.flows(seen)
            with mixed(seen.device):
                found = self.network.basicvsr(seen, flows=flows, step=step)[0]
            part = _weighed(found.float().cpu(), row, column)
            stack.add(row.begin * SCALE, column.begin * SCALE, part)
        return stack

    def _side(self, count: int) -> int:
        mid = self.network.basicvsr.mid
        liked = _SIDES[mid <= _LIGHT] if self.device == "cpu" else _CUDA
        bytes_per_pixel = 4 * mid * (_FEATURES + count)
        wanted = Tiling(halo=None, tile=liked, bytes_per_pixel=bytes_per_pixel)
        return max(tile_side(wanted, self.tile), _LEAST)

    def _tiles(self, frame: Halves, tiling: Tiling) -> Iterator[tuple[Span, Span]]:
        scale = 1 if tiling.halo is not None else SCALE
        rows, columns = (plan(side, tiling.tile, tiling, scale) for side in frame.shape[1:])
        for row in rows:
            for column in columns:
                yield row, column


def _window(frame: Halves, row: Span, column: Span, least: int = 0) -> Tensor:
    """What a tile sees; one that would be too small is mirrored at the right and the foot."""
    bottom = max(row.end, row.begin + least)
    right = max(column.end, column.begin + least)
    return window(Planes(frame), row.begin, bottom, column.begin, right)


def _kept(found: Tensor, row: Span, column: Span) -> Tensor:
    top, left = row.keep[0] - row.begin, column.keep[0] - column.begin
    height, width = row.keep[1] - row.keep[0], column.keep[1] - column.keep[0]
    return found[..., top : top + height, left : left + width]


def _weighed(found: Tensor, row: Span, column: Span) -> Tensor:
    """The part of a tile that lies in the frame, weighed where others give it too."""
    height = (row.keep[1] - row.keep[0]) * SCALE
    width = (column.keep[1] - column.keep[0]) * SCALE
    found = found[..., :height, :width]
    if row.weights is not None:
        found = found * row.weights[:, None]
    if column.weights is not None:
        found = found * column.weights
    return found
