"""A look-ahead peak limiter: what would clip is turned down for some milliseconds, smoothly."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engines.sound.chunks import Sound

_LOOK_AHEAD = 0.005  # seconds
_TAPS = 12  # of each phase between two samples
_PHASES = 4


class Limiter:
    """Keeps a stream of (C, n) samples at or below a ceiling; all channels get the same gain."""

    def __init__(self, rate: int, ceiling: float, between: bool = False) -> None:
        """Start a stream.

        Args:
            rate: Hz.
            ceiling: largest modulus, full scale 1.
            between: also between the samples, where a converter draws its curve (true peak, at
                four times the rate as in ITU-R BS.1770-4, annex 2).
        """
        self._ceiling = ceiling
        self._reach = max(int(rate * _LOOK_AHEAD), _TAPS)
        self._between = between
        self._kept: Sound | None = None  # the samples not given yet, behind `_reach` x 2 old ones
        self._old = 0
        self.limited = 0  # samples that were turned down

    def push(self, block: Sound, last: bool = False) -> Sound:
        """Add samples; returns those that are final (all that remain, if `last`)."""
        kept = block if self._kept is None else np.concatenate([self._kept, block], axis=1)
        around = 2 * self._reach
        end = kept.shape[1] if last else max(kept.shape[1] - around, self._old)
        out = kept[:, self._old : end]
        if out.shape[1]:
            gain = self._gain(kept)
            if gain is not None:
                gain = gain[self._old : end]
                self.limited += int((gain < 0.999).sum())
                out = np.clip(out * gain, -self._ceiling, self._ceiling)
        start = max(end - around, 0)
        self._kept, self._old = kept[:, start:], end - start
        return out

    def _gain(self, sound: Sound) -> NDArray[np.float32] | None:
        """(n,) gain, or None where none is needed; right where `_reach` x 2 are known around."""
        peaks = np.abs(sound).max(axis=0)
        if self._between and float(peaks.max()) > 0.5 * self._ceiling:
            peaks = np.maximum(peaks, true_peaks(sound))
        if float(peaks.max()) <= self._ceiling:
            return None
        wanted = np.minimum(self._ceiling / np.maximum(peaks, 1e-9), 1.0)
        reach = self._reach
        padded = np.pad(wanted, reach, constant_values=1.0)
        least = sliding_window_view(padded, 2 * reach + 1).min(axis=1)
        # A mean of minima over the same width is nowhere above what the peak itself needs.
        padded = np.pad(least, reach, mode="edge")
        sums = np.cumsum(np.concatenate([[0.0], padded]))
        mean = (sums[2 * reach + 1 :] - sums[: -2 * reach - 1]) / (2 * reach + 1)
        return np.minimum(mean, wanted).astype(np.float32)


def true_peaks(sound: Sound) -> NDArray[np.float32]:
    """(n,) largest modulus of the curve within half a sample of each one, over all channels."""
    n = np.arange(-_TAPS // 2 + 1, _TAPS // 2 + 1, dtype=np.float64)
    peaks = np.zeros(sound.shape[1], dtype=np.float32)
    for phase in range(1, _PHASES):
        shift = phase / _PHASES
        taps = np.sinc(n - shift) * np.cos(np.pi * (n - shift) / (_TAPS + 1)) ** 2
        taps = (taps / taps.sum()).astype(np.float32)
        for row in np.pad(sound, ((0, 0), (_TAPS // 2 - 1, _TAPS // 2))):
            between = np.abs(np.correlate(row, taps, mode="valid"))
            peaks = np.maximum(peaks, between)
            peaks[1:] = np.maximum(peaks[1:], between[:-1])
    return peaks
