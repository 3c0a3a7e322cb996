"""Measures of a separation in dB: SDR, SIR and SAR of BSS Eval, and their scale-invariant kin.

BSS Eval (Vincent, Gribonval and Fevotte, 2006) forgives a filter of 512 taps: the estimate is
projected on the span of the wanted source's delays, then on that of all sources' delays. What the
second adds to the first is interference, what neither holds is artefacts. One window over the
whole clip, as its version 4 has it with an infinite window.

The scale-invariant measures (Le Roux and others, 2019) forgive a gain alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, toeplitz

TAPS = 512
_Floats = NDArray[np.float64]


class Ratios(NamedTuple):
    """Distortion, interference, artefacts, each as a ratio in dB; more is better.

    NaN where the estimate or the reference is silent; infinite where nothing is wrong.
    """

    sdr: float
    sir: float
    sar: float


class BssEval:
    """Judges estimates of the first of the references; worth keeping for several estimates.

    Args:
        references: (sources, n): the wanted source, then all others in the mixture.
        taps: length of the forgiven filter in samples.
    """

    def __init__(self, references: ArrayLike, taps: int = TAPS) -> None:
        sources = np.atleast_2d(np.asarray(references, dtype=np.float64))
        self._silent = not sources[0].any()
        kept = [0, *(n for n in range(1, len(sources)) if sources[n].any())]
        self._alone = len(kept) == 1
        self._length = sources.shape[1]
        self._taps = taps
        self._size = 1 << (self._length + taps - 1).bit_length()
        self._spectra = np.fft.rfft(sources[kept], self._size)
        gram = self._gram()
        self._wanted = _Span(gram[:taps, :taps])
        self._every = _Span(gram)

    def ratios(self, estimate: ArrayLike) -> Ratios:
        """How well an estimate, (n,), gives the wanted source.

        Raises:
            ValueError: it is not as long as the references.
        """
        found = np.asarray(estimate, dtype=np.float64)
        if found.shape != (self._length,):
            raise ValueError("references must be (sources, n) and the estimate (n,)")
        if self._silent or not found.any():
            return Ratios(np.nan, np.nan, np.nan)
        spectrum = np.fft.rfft(found, self._size)
        cross = np.fft.irfft(np.conj(self._spectra) * spectrum, self._size)[:, : self._taps]
        total = float(found @ found)
        wanted = self._wanted.power(cross[0])
        every = max(self._every.power(cross.reshape(-1)), wanted)
        return Ratios(
            decibels(wanted, total - wanted),
            np.inf if self._alone else decibels(wanted, every - wanted),
            decibels(every, total - every),
        )

    def _gram(self) -> _Floats:
        """Products of all delayed sources with each other, (sources * taps, sources * taps)."""
        count, taps = len(self._spectra), self._taps
        gram = np.empty((count, taps, count, taps))
        for row in range(count):
            for column in range(row, count):
                product = self._spectra[row] * np.conj(self._spectra[column])
                lags = np.fft.irfft(product, self._size)
                block = toeplitz(lags[-np.arange(taps)], lags[:taps])
                gram[row, :, column] = block
                gram[column, :, row] = block.T
        return gram.reshape(count * taps, count * taps)


def bss_eval(references: ArrayLike, estimate: ArrayLike, taps: int = TAPS) -> Ratios:
    """How well one estimate, (n,), gives the first of the references; see `BssEval`.

    Raises:
        ValueError: the shapes do not fit together.
    """
    return BssEval(references, taps).ratios(estimate)


def si_ratios(reference: ArrayLike, rest: ArrayLike, estimate: ArrayLike) -> Ratios:
    """SI-SDR, SI-SIR and SI-SAR; `rest` is the mixture without the reference. No mean is removed.

    Args:
        reference: (n,) the wanted source.
        rest: (n,) all others added up.
        estimate: (n,).
    """
    wanted, others, found = (np.asarray(x, dtype=np.float64) for x in (reference, rest, estimate))
    if not (wanted.any() and found.any()):
        return Ratios(np.nan, np.nan, np.nan)
    target = _along(found, wanted)
    noise = _along(found, others)
    artefacts = found - target - noise
    power = float(target @ target)
    error = found - target
    return Ratios(
        decibels(power, float(error @ error)),
        decibels(power, float(noise @ noise)),
        decibels(power, float(artefacts @ artefacts)),
    )


def si_sdr(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Scale-invariant signal-to-distortion ratio in dB."""
    return si_ratios(reference, np.zeros(np.shape(reference)), estimate).sdr


def decibels(good: float, bad: float) -> float:
    """10 log10 of good over bad; infinite where either is nothing."""
    if good <= 0.0:
        return -np.inf
    return float(10.0 * np.log10(good / bad)) if bad > 0.0 else np.inf


def _along(vector: _Floats, axis: _Floats) -> _Floats:
    power = float(axis @ axis)
    return axis * (float(vector @ axis) / power) if power > 0.0 else np.zeros_like(vector)


class _Span:
    """What delayed sources span, by their products with each other."""

    def __init__(self, gram: _Floats) -> None:
        self._gram = gram
        try:
            self._factor = cho_factor(gram)
        except LinAlgError:  # sources that hold each other, or band-limited ones
            self._factor = None

    def power(self, cross: _Floats) -> float:
        """Power of the projection of what has these products with the delayed sources."""
        if self._factor is None:
            weights = np.linalg.lstsq(self._gram, cross, rcond=None)[0]
        else:
            weights = cho_solve(self._factor, cross)
        return max(float(cross @ weights), 0.0)
