"""The first pass over a recording: what must be known of all of it before any of it is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.base import UserError
from engines.sound.chunks import Sound

SILENCE = 1e-4  # -80 dBFS
_CLICK = 4.0  # a peak so far above the 99.9th percentile is a click, which sets no level
_FULL = 0.999  # of full scale
_RUN = 3  # samples in a row at the top that are no chance
_OPPOSED = 0.03  # share of the power that the channels' mean keeps; below, they cancel
_BINS_PER_DECADE = 50
_DECADES = 8  # moduli from 1e-6 to 100
_LEAST_OFFSET = 0.002  # full scale; below, and in less than a second, it is left alone
_FRAME = 0.02  # seconds
_BLANK_DB, _STEP_DB, _LEVELS = -120.0, 0.5, 300


@dataclass(frozen=True)
class Survey:
    """Facts of a recording, or of the part of it that is processed.

    Attributes:
        samples: of one channel.
        channels: how many there are.
        offset: (C,) mean of each channel, full scale 1.
        constant: the offset is large, and the sound long enough, to call it a fault.
        peak: largest modulus without the offset.
        percentile: 99.9th percentile of the moduli, of the loudest channel at each moment.
        clipped: share of the samples that lie in runs at full scale.
        opposed: the channels cancel in their mean, so it stands for none of them.
        snr: see `Levels.snr`.
        floor: see `Levels.floor`.
    """

    samples: int
    channels: int
    offset: NDArray[np.float64]
    constant: bool
    peak: float
    percentile: float
    clipped: float
    opposed: bool
    snr: float
    floor: float

    @property
    def silent(self) -> bool:
        """Nothing in it is louder than -80 dBFS."""
        return self.peak < SILENCE

    def reference(self, level: str) -> float:
        """The modulus that a network wants at 1: "peak", but for a lone click, or "percentile"."""
        wanted = self.percentile if level == "percentile" else self.peak
        return min(wanted, _CLICK * self.percentile) or 1.0


class Levels:
    """Histogram of the levels of 20 ms frames; says how far speech stands above its background."""

    def __init__(self, rate: int) -> None:
        self._length = max(int(rate * _FRAME), 1)
        self._rest = np.zeros(0)
        self._counts = np.zeros(_LEVELS, dtype=np.int64)

    def add(self, block: Sound) -> None:
        """Count the frames of (C, n) samples."""
        power = np.concatenate([self._rest, np.square(block, dtype=np.float64).mean(axis=0)])
        whole = len(power) // self._length * self._length
        self._rest = power[whole:]
        frames = power[:whole].reshape(-1, self._length).mean(axis=1)
        levels = 10.0 * np.log10(np.maximum(frames, 1e-12))
        index = ((levels - _BLANK_DB) / _STEP_DB).astype(np.int64).clip(0, _LEVELS - 1)
        self._counts += np.bincount(index, minlength=_LEVELS)

    @property
    def floor(self) -> float:
        """Level of the background in dBFS: the mean power of the quietest tenth of the frames."""
        return 10.0 * float(np.log10(self._mean(0.0, 0.1)))

    @property
    def snr(self) -> float:
        """Blind estimate in dB, -20 to 100: the louder half's mean power over the background's.

        Holds for noise that goes on in the pauses; there is no other knowledge of it.
        """
        noise = self._mean(0.0, 0.1)
        excess = max(self._mean(0.5, 1.0) / noise - 1.0, 0.01)
        return float(np.clip(10.0 * np.log10(excess), -20.0, 100.0))

    def _mean(self, low: float, high: float) -> float:
        """Mean power of the frames between two shares of their number, quietest first."""
        total = int(self._counts.sum())
        if total == 0:
            return 1e-12
        ends = np.cumsum(self._counts)
        begin, end = low * total, max(high * total, low * total + 1)
        taken = np.clip(ends, begin, end) - np.clip(ends - self._counts, begin, end)
        powers = 10.0 ** ((_BLANK_DB + _STEP_DB * (np.arange(_LEVELS) + 0.5)) / 10.0)
        return float((taken * powers).sum() / max(taken.sum(), 1e-9))


def survey(blocks: Iterable[Sound], rate: int, name: str, look: Callable[[int], None]) -> Survey:
    """Read a recording once.

    Args:
        blocks: (C, n) float32 samples, finite, full scale 1.
        rate: Hz.
        name: of the file, for the refusal.
        look: told the samples read so far; may raise `Cancelled`.

    Raises:
        UserError: there is no sample in it.
    """
    total = 0
    sums, about = np.zeros(0), np.zeros((0, 1), np.float32)
    highest, lowest = np.zeros(0), np.zeros(0)
    squares = mid_squares = 0.0
    run = clipped = 0
    histogram = np.zeros(_DECADES * _BINS_PER_DECADE, dtype=np.int64)
    levels = Levels(rate)
    for block in blocks:
        if block.shape[1] == 0:
            continue
        if total == 0:
            sums = np.zeros(block.shape[0])
            about = block.mean(axis=1, keepdims=True)  # near the offset, which is yet unknown
            highest, lowest = np.full(block.shape[0], -np.inf), np.full(block.shape[0], np.inf)
        total += block.shape[1]
        sums += block.sum(axis=1, dtype=np.float64)
        highest = np.maximum(highest, block.max(axis=1))
        lowest = np.minimum(lowest, block.min(axis=1))
        squares += float(np.square(block, dtype=np.float64).mean(axis=0).sum())
        mid_squares += float(np.square(block.mean(axis=0), dtype=np.float64).sum())
        loudest = np.abs(block).max(axis=0)
        moduli = np.abs(block - about).max(axis=0)
        histogram += np.bincount(_decade(moduli), minlength=len(histogram))
        more, run = _runs(loudest >= _FULL, run)
        clipped += more
        levels.add(block)
        look(total)
    if total == 0:
        raise UserError(f"There is no sound in {name} here; choose another file, or another part")
    offset = sums / total
    peak = float(max((highest - offset).max(), (offset - lowest).max()))
    share = np.cumsum(histogram) / total
    percentile = 10.0 ** ((int(np.argmax(share >= 0.999)) + 1) / _BINS_PER_DECADE - 6.0)
    return Survey(
        samples=total,
        channels=len(offset),
        offset=offset,
        constant=total >= rate and float(np.abs(offset).max()) > _LEAST_OFFSET,
        peak=peak,
        percentile=min(peak, percentile),
        clipped=clipped / total,
        opposed=len(offset) > 1 and mid_squares < _OPPOSED * squares,
        snr=levels.snr,
        floor=levels.floor,
    )


def _decade(moduli: NDArray[np.float32]) -> NDArray[np.int64]:
    scaled = (np.log10(np.maximum(moduli, 1e-6)) + 6.0) * _BINS_PER_DECADE
    return scaled.astype(np.int64).clip(0, _DECADES * _BINS_PER_DECADE - 1)


def _runs(full: NDArray[np.bool_], before: int) -> tuple[int, int]:
    """Samples in runs of at least `_RUN`, given the run that is going on; and the run at the end.

    A run's samples count from the moment when it is long enough, those before included.
    """
    if not full.any():
        return 0, 0
    padded = np.concatenate([np.ones(before, dtype=np.bool_), full, [False]])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], padded, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    lengths = ends - starts
    counted = int(lengths[lengths >= _RUN].sum())
    if before >= _RUN:
        counted -= before  # the last block counted them
    at_end = len(full) + before
    going_on = int(lengths[-1]) if len(lengths) and ends[-1] == at_end else 0
    return counted, going_on
