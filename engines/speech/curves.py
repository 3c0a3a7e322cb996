"""Slow gains that follow a recording: how much of a band, or of everything, is speech.

A `Curve` compares the power of the enhanced sound with that of the input in short windows and
gives the ratio at any position, while both stream past.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.sound.chunks import Sound

_WINDOW = 0.01  # seconds
_LEAST_POWER = 1e-9  # -90 dBFS; below it a ratio says nothing


class Curve:
    """Share of the amplitude that is left, 0 to 1, smoothed; for each channel, or for all."""

    def __init__(
        self, rate: int, reach: float, hold: float, pooled: bool, above: float = 0.0
    ) -> None:
        """Start at the first sample.

        Args:
            rate: Hz of the sounds compared.
            reach: seconds to either side over which it is smoothed.
            hold: seconds to either side for which the highest value holds.
            pooled: one curve from the power of all channels together.
            above: lowest frequency that counts, in Hz; 0 for all.
        """
        self._window = max(int(rate * _WINDOW), 1)
        self._reach = round(reach / _WINDOW)
        self._hold = round(hold / _WINDOW)
        self._pooled = pooled
        self._taps = high_pass(rate, above) if above else None
        self._past: Sound | None = None
        self._rest: Sound | None = None
        self._raw: NDArray[np.float64] = np.zeros((0, 0, 2))  # powers from window `_first` on
        self._first = 0
        self._ended = False

    def push(self, before: Sound, after: Sound, last: bool = False) -> None:
        """Add (C, n) samples of input and result; `last`: no more follow."""
        both = np.concatenate([before, after])
        if self._taps is not None:
            both = self._filter(both)
        if self._rest is not None:
            both = np.concatenate([self._rest, both], axis=1)
        windows = -(-both.shape[1] // self._window) if last else both.shape[1] // self._window
        whole = windows * self._window
        self._rest = both[:, whole:]
        if whole > both.shape[1]:
            both = np.pad(both, ((0, 0), (0, whole - both.shape[1])))
        power = np.square(both[:, :whole], dtype=np.float64)
        power = power.reshape(len(both), windows, self._window).mean(axis=2) + _LEAST_POWER
        new = np.stack(np.split(power, 2), axis=2)
        if self._pooled:
            new = new.mean(axis=0, keepdims=True)
        kept = self._raw if self._raw.size else new[:, :0]
        self._raw = np.concatenate([kept, new], axis=1)
        self._ended = last

    def known(self) -> int:
        """Samples from the start at which the curve is known."""
        count = self._first + self._raw.shape[1]
        if self._ended:
            return 2**62
        return max(count - self._reach - self._hold - 1, 0) * self._window

    def at(self, positions: NDArray[np.float64]) -> NDArray[np.float32]:
        """(C or 1, n) gains at increasing positions in samples, all of them known.

        What lies before the last one and is not needed after it is forgotten.
        """
        around = self._reach + self._hold
        low = max(int(positions[0] / self._window - 0.5) - around - 1, self._first)
        high = int(positions[-1] / self._window + 0.5) + around + 2
        raw = self._raw[:, low - self._first : high - self._first]
        smooth = _slide(raw, self._reach)
        gains = np.sqrt(np.minimum(smooth[..., 1] / smooth[..., 0], 1.0))
        gains = _highest(gains, self._hold)
        centres = (np.arange(low, low + gains.shape[1]) + 0.5) * self._window
        found = np.stack([np.interp(positions, centres, row) for row in gains])
        keep_from = max(int(positions[-1] / self._window) - around - 2, self._first)
        self._raw = self._raw[:, keep_from - self._first :]
        self._first = keep_from
        return found.astype(np.float32)

    def _filter(self, block: Sound) -> Sound:
        assert self._taps is not None
        past = self._past
        if past is None:
            past = np.zeros((len(block), len(self._taps) - 1), dtype=np.float32)
        whole = np.concatenate([past, block], axis=1)
        self._past = whole[:, whole.shape[1] - len(self._taps) + 1 :]
        return np.stack([np.convolve(row, self._taps, mode="valid") for row in whole])


def high_pass(rate: int, above: float, taps: int = 31) -> NDArray[np.float32]:
    """Windowed-sinc high pass, odd number of taps."""
    n = np.arange(taps) - taps // 2
    low = 2.0 * above / rate * np.sinc(2.0 * above / rate * n) * np.hanning(taps + 2)[1:-1]
    low /= low.sum()
    low = -low
    low[taps // 2] += 1.0
    return low.astype(np.float32)


def _slide(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Mean over `reach` places to either side along axis 1, fewer at the ends."""
    sums = np.cumsum(np.pad(values, ((0, 0), (1, 0), (0, 0))), axis=1)
    index = np.arange(values.shape[1])
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, values.shape[1])
    return (sums[:, high] - sums[:, low]) / (high - low)[None, :, None]


def _highest(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Largest over `reach` places to either side along axis 1."""
    padded = np.pad(values, ((0, 0), (reach, reach)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=1).max(axis=2)
