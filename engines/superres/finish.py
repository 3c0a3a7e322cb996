"""From a network's rows to the levels of a file: colours, strength, holes, rounding, and a check.

The check is consistency: the result, reduced to the input's size, against the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.media.picture_facts import Pixels
from engines.superres.colour import REACH, wavelet
from engines.superres.masks import nearest
from engines.superres.rows import Enlarged, Resizing, Sink, Source, append, strips

_BEST = 100.0  # dB; a picture that came back as it was


@dataclass(frozen=True)
class Look:
    """How the result is to look.

    Attributes:
        strength: share of the network's picture against the plain enlargement, 0 to 1.
        wavelet: coarse structures come from the plain enlargement.
        recolour: what each strip goes through first.
        bits: of a sample of the result, 8 or 16.
        white: what a sample of 1 is written as, at most 2^bits - 1.
        holes: (h, w) pixels of the input that hold no measurement.
        nodata: the level that marks them, in all channels; no other pixel gets it.
    """

    strength: float
    wavelet: bool
    recolour: Callable[[Tensor], Tensor] | None
    bits: int
    white: float
    holes: NDArray[np.bool_] | None = None
    nodata: int | None = None


class Finish:
    """A `Sink` that writes a result of `target` size as (height, width, channels) levels."""

    def __init__(
        self, source: Source, target: tuple[int, int], look: Look, path: Path, sink: Sink
    ) -> None:
        """`source` is the input; `sink` gets the result's rows as they were rounded."""
        self._plain = Enlarged(source, target, "lanczos")
        self._target, self._look, self._sink = target, look, sink
        self._reach = REACH if look.wavelet else 0
        self._dtype = np.dtype(np.uint16 if look.bits == 16 else np.uint8)
        self._path = path
        path.write_bytes(b"")
        self._held = torch.empty(source.channels, 0, target[1])
        self._begin = 0  # row that `_held` begins with
        self._done = 0

    def take(self, rows: Tensor) -> None:
        """See `engines.superres.rows.Sink`."""
        if self._look.recolour is not None:
            rows = self._look.recolour(rows)
        self._held = torch.cat([self._held, rows], dim=1) if self._held.shape[1] else rows
        have = self._begin + self._held.shape[1]
        ready = have if have == self._target[0] else max(have - self._reach, self._done)
        for begin, end in strips(self._done, ready, self._held.shape[0] * self._target[1]):
            self._write(begin, end)
        self._done = ready
        needed = min(max(ready - self._reach, self._begin), have)
        self._held, self._begin = self._held[:, needed - self._begin :].clone(), needed

    def close(self) -> None:
        """See `engines.superres.rows.Sink`."""
        self._sink.close()

    def pixels(self) -> Pixels:
        """The finished picture, a mapping of its file."""
        shape = (*self._target, self._held.shape[0])
        return np.memmap(self._path, self._dtype, "r", shape=shape)

    def _write(self, begin: int, end: int) -> None:
        look, (height, width) = self._look, self._target
        top, bottom = max(begin - self._reach, 0), min(end + self._reach, height)
        found = self._held[:, top - self._begin : bottom - self._begin]
        if look.wavelet or look.strength < 1.0:
            plain = self._plain.window(top, bottom, 0, width)
            if look.wavelet:
                found = wavelet(found, plain)
            found = plain + look.strength * (found - plain)
        found = found[:, begin - top : end - top]
        most = 2**look.bits - 1
        levels = torch.round(found * look.white).clamp_(0.0, most)
        out = levels.permute(1, 2, 0).numpy().astype(self._dtype)
        if look.nodata is not None:
            self._mark(out, begin, end, look.nodata)
        append(self._path, out)
        self._sink.take(levels / look.white)

    def _mark(self, out: Pixels, begin: int, end: int, nodata: int) -> None:
        """Write holes into rows, and move what was measured off their level."""
        measured = np.all(out == nodata, axis=2)
        out[measured] = nodata - 1 if nodata == np.iinfo(self._dtype).max else nodata + 1
        if self._look.holes is not None:
            shape = self._look.holes.shape
            down, across = (nearest(shape[axis], self._target[axis]) for axis in (0, 1))
            out[self._look.holes[down[begin:end]][:, across]] = nodata


class Consistency:
    """A `Sink` for a picture of any size that is reduced and held against the input."""

    def __init__(self, source: Source, size: tuple[int, int]) -> None:
        """`size` is that of the rows that will come."""
        self._source = source
        self._row = 0
        self._squares = 0.0
        self._reducing = Resizing(size, source.size, "bicubic", _Difference(self))

    def take(self, rows: Tensor) -> None:
        """See `engines.superres.rows.Sink`."""
        self._reducing.take(rows)

    def close(self) -> None:
        """See `engines.superres.rows.Sink`."""
        self._reducing.close()

    @property
    def decibels(self) -> float:
        """PSNR over all channels, the peak being white; 100 at most."""
        height, width = self._source.size
        error = self._squares / (height * width * self._source.channels)
        return min(-10.0 * math.log10(error), _BEST) if error > 0.0 else _BEST

    def compare(self, rows: Tensor) -> None:
        """Take the next rows at the input's size."""
        end = self._row + rows.shape[1]
        truth = self._source.window(self._row, end, 0, self._source.size[1])
        self._squares += float((rows - truth).square().sum(dtype=torch.float64))
        self._row = end


class _Difference:
    def __init__(self, owner: Consistency) -> None:
        self._owner = owner

    def take(self, rows: Tensor) -> None:
        self._owner.compare(rows)

    def close(self) -> None:
        pass
