"""Pictures that are never whole in memory: read by windows, handed on from row to row.

Inside the tab, samples are float32 with 1 at full scale and pictures are (channels, rows, columns).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.superres.resample import Kind, apply, taps

_STRIP_BYTES = 16 << 20


class Source(Protocol):
    """A picture of which any part can be had."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        ...

    @property
    def channels(self) -> int:
        """Number of channels, at least 1."""
        ...

    def window(self, top: int, bottom: int, left: int, right: int) -> Tensor:
        """(channels, bottom - top, right - left) float32 on the CPU; bounds lie inside."""
        ...


class Sink(Protocol):
    """Takes a picture's rows from the top to the foot."""

    def take(self, rows: Tensor) -> None:
        """(channels, n, width) float32 on the CPU, the next rows; they are not kept or changed."""
        ...

    def close(self) -> None:
        """All rows were given."""
        ...


class Levels:
    """The integers of a file as a `Source`."""

    def __init__(self, pixels: NDArray[np.uint8] | NDArray[np.uint16], white: float) -> None:
        """`pixels` is (H, W, C); `white` is the level that becomes 1."""
        self._pixels, self._white = pixels, white

    @property
    def size(self) -> tuple[int, int]:
        """See `Source`."""
        return self._pixels.shape[0], self._pixels.shape[1]

    @property
    def channels(self) -> int:
        """See `Source`."""
        return self._pixels.shape[2]

    def window(self, top: int, bottom: int, left: int, right: int) -> Tensor:
        """See `Source`."""
        part = self._pixels[top:bottom, left:right].transpose(2, 0, 1)
        return torch.from_numpy(part.astype(np.float32)).div_(self._white)


class Canvas:
    """A picture in a file: a `Sink` first, then a `Source`."""

    def __init__(
        self,
        path: Path,
        channels: int,
        size: tuple[int, int],
        kind: type[np.float16 | np.float32] = np.float32,
    ) -> None:
        """`path` is written anew; `kind` is how samples lie in it."""
        self._path, self._channels, self._size, self._kind = path, channels, size, kind
        path.write_bytes(b"")

    @property
    def size(self) -> tuple[int, int]:
        """See `Source`."""
        return self._size

    @property
    def channels(self) -> int:
        """See `Source`."""
        return self._channels

    def take(self, rows: Tensor) -> None:
        """See `Sink`."""
        append(self._path, rows.permute(1, 0, 2).numpy().astype(self._kind, copy=False))

    def close(self) -> None:
        """See `Sink`."""

    def window(self, top: int, bottom: int, left: int, right: int) -> Tensor:
        """See `Source`; of rows that were taken."""
        height, width = self._size
        shape = (height, self._channels, width)
        # A mapping counts as memory of this process while it is there, so it is made anew.
        whole = np.memmap(self._path, self._kind, "r", shape=shape)
        part = np.array(whole[top:bottom, :, left:right].transpose(1, 0, 2), np.float32, order="C")
        return torch.from_numpy(part)

    def remove(self) -> None:
        """Delete the file."""
        self._path.unlink(missing_ok=True)


class Picked:
    """Some channels of a `Source`, each as often as it is named."""

    def __init__(self, source: Source, channels: Sequence[int]) -> None:
        self._source, self._channels = source, list(channels)

    @property
    def size(self) -> tuple[int, int]:
        """See `Source`."""
        return self._source.size

    @property
    def channels(self) -> int:
        """See `Source`."""
        return len(self._channels)

    def window(self, top: int, bottom: int, left: int, right: int) -> Tensor:
        """See `Source`."""
        return self._source.window(top, bottom, left, right)[self._channels]


class Merged:
    """The inverse of `Picked`: a `Source` of several, whose channels are the means of theirs."""

    def __init__(
        self, parts: Sequence[Source], groups: Sequence[Sequence[int]], channels: int
    ) -> None:
        """`groups` say which of the `channels` each part's are."""
        self._parts, self._groups, self._channels = parts, groups, channels

    @property
    def size(self) -> tuple[int, int]:
        """See `Source`."""
        return self._parts[0].size

    @property
    def channels(self) -> int:
        """See `Source`."""
        return self._channels

    def window(self, top: int, bottom: int, left: int, right: int) -> Tensor:
        """See `Source`."""
        total = torch.zeros(self._channels, bottom - top, right - left)
        times = torch.zeros(self._channels, 1, 1)
        for part, group in zip(self._parts, self._groups, strict=True):
            seen = part.window(top, bottom, left, right)
            for position, channel in enumerate(group):
                total[channel] += seen[position]
                times[channel] += 1
        return total / times


class Resizing:
    """A `Sink` that resizes what it is given and hands it on."""

    def __init__(
        self, size: tuple[int, int], target: tuple[int, int], kind: Kind, sink: Sink
    ) -> None:
        self._sink = sink
        self._same = size == target
        self._down = taps(size[0], target[0], kind)
        self._across = taps(size[1], target[1], kind)
        self._ends = (self._down.first + self._down.weights.shape[1]).clamp(max=size[0])
        self._target = target
        self._held: Tensor | None = None
        self._begin = 0  # row of the input that `_held` begins with
        self._done = 0  # rows handed on

    def take(self, rows: Tensor) -> None:
        """See `Sink`."""
        if self._same:
            self._sink.take(rows)
            return
        rows = apply(rows, 2, self._across, 0, self._target[1])
        held = rows if self._held is None else torch.cat([self._held, rows], dim=1)
        have = self._begin + held.shape[1]
        ready = int(torch.searchsorted(self._ends, have, right=True))
        for begin, end in strips(self._done, ready, held.shape[0] * self._target[1]):
            self._sink.take(apply(held, 1, self._down, begin, end, self._begin))
        self._done = ready
        needed = int(self._down.first[ready]) if ready < self._target[0] else have
        needed = min(max(needed, self._begin), have)
        self._held, self._begin = held[:, needed - self._begin :].clone(), needed

    def close(self) -> None:
        """See `Sink`."""
        self._sink.close()


def append(path: Path, values: NDArray[Any]) -> None:
    """Add an array's bytes to a file, which is not left open if the work ends here."""
    with path.open("ab") as file:
        file.write(np.ascontiguousarray(values).data)


def pump(source: Source, sink: Sink, check: Callable[[], None]) -> None:
    """Send a whole picture to a sink; `check` is called before every strip."""
    height, width = source.size
    for top, bottom in strips(0, height, width * source.channels):
        check()
        sink.take(source.window(top, bottom, 0, width))
    sink.close()


class Both:
    """Gives the same rows to two sinks."""

    def __init__(self, first: Sink, second: Sink) -> None:
        self._sinks = (first, second)

    def take(self, rows: Tensor) -> None:
        """See `Sink`."""
        for sink in self._sinks:
            sink.take(rows)

    def close(self) -> None:
        """See `Sink`."""
        for sink in self._sinks:
            sink.close()


class Enlarged:
    """A `Source` of a given size by a filter, computed for each window anew."""

    def __init__(self, source: Source, target: tuple[int, int], kind: Kind) -> None:
        self._source, self._target = source, target
        self._down = taps(source.size[0], target[0], kind)
        self._across = taps(source.size[1], target[1], kind)

    @property
    def size(self) -> tuple[int, int]:
        """See `Source`."""
        return self._target

    @property
    def channels(self) -> int:
        """See `Source`."""
        return self._source.channels

    def window(self, top: int, bottom: int, left: int, right: int) -> Tensor:
        """See `Source`."""
        y0, y1 = self._down.span(top, bottom)
        x0, x1 = self._across.span(left, right)
        part = self._source.window(y0, y1, x0, x1)
        part = apply(part, 2, self._across, left, right, x0)
        return apply(part, 1, self._down, top, bottom, y0)


def strips(begin: int, end: int, row: int) -> Iterator[tuple[int, int]]:
    """(first, behind the last) of strips of a few megabytes; `row` is the values of a row."""
    rows = max(_STRIP_BYTES // (4 * row), 1)
    for top in range(begin, end, rows):
        yield top, min(top + rows, end)
