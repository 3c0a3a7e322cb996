"""Loudness after ITU-R BS.1770-4 and EBU R 128, measured on a stream of any rate.

K-weighting is the standard's analogue filter brought to the rate at hand by the bilinear transform
(frequencies, gain and Q by B. De Man, "Evaluation of implementations of the EBU R128 loudness
measurement", AES 145, 2018); at 48 kHz it gives the coefficients that the standard prints.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt

_SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196, 0.4996667741545416)
_HIGH_PASS = (38.13547087602444, 0.5003270373238773)
_OFFSET = -0.691  # dB: 997 Hz at full scale in one channel is -3.01 LUFS
_ABSOLUTE_GATE = -70.0  # LUFS
_RELATIVE_GATE = -10.0  # LU
_SURROUND = 1.41
_WEIGHTS = {
    "5.0": (1.0, 1.0, 1.0, _SURROUND, _SURROUND),
    "5.1": (1.0, 1.0, 1.0, 0.0, _SURROUND, _SURROUND),
    "7.1": (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, _SURROUND, _SURROUND),  # back at ±135°, side at ±90°
}
_OVERSAMPLED = 4
_SOFT = 0.65  # of the peak; what is below need not be looked at
_TAPS = 24  # of each of the interpolating filter's phases


class Loudness:
    """Integrated loudness and true peak of one sound, given in blocks of any size.

    Memory grows by ten numbers a second.

    Args:
        rate: samples a second.
        channels: of the blocks.
        layout: `SoundFacts.layout`; the surround channels of "5.0", "5.1" and "7.1" are weighted
            and the low-frequency channel is left out, as the standard has it.

    Attributes:
        peak: largest magnitude of a sample, 1 being full scale.
    """

    def __init__(self, rate: int, channels: int, layout: str = "") -> None:
        weights = _WEIGHTS.get(layout.partition("(")[0], ())
        self._weights = np.array(weights if len(weights) == channels else (1.0,) * channels)
        self._sections = _k_weighting(rate)
        self._state = np.zeros((len(self._sections), channels, 2))
        self._rate = rate
        self._tenths: list[float] = []  # weighted mean power of every 100 ms
        self._sum = np.zeros(channels)  # of the 100 ms that have begun
        self._done = 0
        self.peak = 0.0
        self._between = 0.0
        self._phases = _interpolating_phases()
        self._last = np.zeros((channels, _TAPS - 1), dtype=np.float32)

    def add(self, block: NDArray[np.float32]) -> None:
        """Take the next (channels, n) float32 samples."""
        if not block.shape[1]:
            return
        self._find_peaks(block)
        weighted, self._state = sosfilt(self._sections, block, axis=1, zi=self._state)
        power = np.square(weighted)
        edges: list[int] = []
        end = self._done + block.shape[1]
        tenth = len(self._tenths) + 1
        while (edge := tenth * self._rate // 10) <= end:
            edges.append(edge - self._done)
            tenth += 1
        start = 0
        for edge in edges:
            self._sum += power[:, start:edge].sum(axis=1)
            begun = len(self._tenths) * self._rate // 10
            length = (len(self._tenths) + 1) * self._rate // 10 - begun
            self._tenths.append(float(self._weights @ self._sum) / length)
            self._sum[:] = 0.0
            start = edge
        self._sum += power[:, start:].sum(axis=1)
        self._done = end

    def integrated(self) -> float:
        """Loudness in LUFS with both gates; -inf for silence.

        Of a sound shorter than 400 ms, which the standard does not define, all of it is one block.
        """
        tenths = np.array(self._tenths)
        if len(tenths) < 4:
            total = float(self._weights @ self._sum) + float(tenths.sum()) * self._rate / 10
            powers = np.array([total / self._done if self._done else 0.0])
        else:
            powers = np.convolve(tenths, np.full(4, 0.25), mode="valid")
        loud = powers[powers > _power(_ABSOLUTE_GATE)]
        if len(loud):
            loud = loud[loud > loud.mean() * 10 ** (_RELATIVE_GATE / 10)]
        return _lufs(float(loud.mean())) if len(loud) else -math.inf

    def true_peak(self) -> float:
        """Largest magnitude of the sound at four times its rate, 1 being full scale.

        It may lie above 1 although no sample does (BS.1770-4, annex 2).
        """
        return max(self.peak, self._between)

    def _find_peaks(self, block: NDArray[np.float32]) -> None:
        known = max(self.peak, self._between)
        magnitude = np.abs(block)
        self.peak = max(self.peak, float(magnitude.max()))
        whole = np.concatenate([self._last, block], axis=1)
        self._last = whole[:, 1 - _TAPS :].copy()
        if whole.shape[1] < _TAPS:
            return
        # Between samples a sound exceeds them by 3 dB at most but for contrived ones, and next to
        # a sample that no neighbour exceeds; few have to be looked at.
        floor = max(_SOFT * max(known, self.peak), 1e-12)
        for channel in whole:
            level = np.abs(channel)
            tops = (level[1:-1] >= floor) & (level[1:-1] >= level[:-2]) & (level[1:-1] >= level[2:])
            near = np.flatnonzero(tops)[:, None] + 1 - np.array([_TAPS // 2, _TAPS // 2 - 1])
            starts = near[(near >= 0) & (near <= len(channel) - _TAPS)]
            if len(starts):
                windows = np.lib.stride_tricks.sliding_window_view(channel, _TAPS)[starts]
                self._between = max(self._between, float(np.abs(windows @ self._phases).max()))


def _k_weighting(rate: int) -> NDArray[np.float64]:
    """Both stages as second-order sections, (2, 6)."""
    frequency, gain, quality, exponent = _SHELF
    K = math.tan(math.pi * frequency / rate)
    high = 10 ** (gain / 20)
    middle = high**exponent * K / quality
    b = [high + middle + K * K, 2 * (K * K - high), high - middle + K * K]
    a = [1 + K / quality + K * K, 2 * (K * K - 1), 1 - K / quality + K * K]
    shelf = np.array([*b, *a]) / a[0]
    frequency, quality = _HIGH_PASS
    K = math.tan(math.pi * frequency / rate)
    a = [1 + K / quality + K * K, 2 * (K * K - 1), 1 - K / quality + K * K]
    high_pass = np.array([a[0], -2 * a[0], a[0], *a]) / a[0]
    return np.stack([shelf, high_pass])


def _interpolating_phases() -> NDArray[np.float32]:
    """(taps, 3): a windowed sinc that reads the sound at 1/4, 1/2 and 3/4 between two samples."""
    place = np.arange(_TAPS) - (_TAPS // 2 - 1)
    phases: list[NDArray[np.float64]] = []
    for quarter in range(1, _OVERSAMPLED):
        distance = place - quarter / _OVERSAMPLED
        inside = np.clip(1 - (2 * distance / _TAPS) ** 2, 0, None)
        phase = np.sinc(distance) * np.i0(6.0 * np.sqrt(inside)) / np.i0(6.0)
        phases.append(phase / phase.sum())
    return np.stack(phases, axis=1).astype(np.float32)


def _lufs(power: float) -> float:
    return _OFFSET + 10 * math.log10(power) if power > 0 else -math.inf


def _power(lufs: float) -> float:
    return 10 ** ((lufs - _OFFSET) / 10)
