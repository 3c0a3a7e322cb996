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


def bss_eval(references: ArrayLike, estimate: ArrayLike, taps: int = TAPS) -> Ratios:
    """How well an estimate gives the first of the references.

    Args:
        references: (sources, n): the wanted source, then all others in the mixture.
        estimate: (n,).
        taps: length of the forgiven filter in samples.

    Raises:
        ValueError: the shapes do not fit together.
    """
    sources = np.atleast_2d(np.asarray(references, dtype=np.float64))
    found = np.asarray(estimate, dtype=np.float64)
    if found.ndim != 1 or sources.shape[1] != len(found):
        raise ValueError("references must be (sources, n) and the estimate (n,)")
    if not (sources[0].any() and found.any()):
        return Ratios(np.nan, np.nan, np.nan)
    sources = sources[[0, *(n for n in range(1, len(sources)) if sources[n].any())]]
    gram, cross = _correlations(sources, found, taps)
    total = float(found @ found)
    wanted = _projected(gram[:taps, :taps], cross[:taps])
    every = max(_projected(gram, cross), wanted)
    return Ratios(
        decibels(wanted, total - wanted),
        decibels(wanted, every - wanted) if len(sources) > 1 else np.inf,
        decibels(every, total - every),
    )


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


def _correlations(sources: _Floats, found: _Floats, taps: int) -> tuple[_Floats, _Floats]:
    """Products of all delayed sources with each other, and with the estimate.

    Returns:
        (sources * taps, sources * taps) and (sources * taps,).
    """
    count, length = sources.shape
    size = 1 << (length + taps - 1).bit_length()
    spectra = np.fft.rfft(sources, size)
    other = np.fft.rfft(found, size)
    gram = np.empty((count * taps, count * taps))
    for row in range(count):
        for column in range(row, count):
            lags = np.fft.irfft(spectra[row] * np.conj(spectra[column]), size)
            block = toeplitz(lags[-np.arange(taps)], lags[:taps])
            rows, columns = (
                slice(row * taps, (row + 1) * taps),
                slice(column * taps, (column + 1) * taps),
            )
            gram[rows, columns] = block
            gram[columns, rows] = block.T
    cross = np.fft.irfft(np.conj(spectra) * other, size)[:, :taps]
    return gram, cross.reshape(-1)


def _projected(gram: _Floats, cross: _Floats) -> float:
    """Power of the projection on the span that the matrix describes."""
    try:
        weights = cho_solve(cho_factor(gram), cross)
    except LinAlgError:  # sources that hold each other, or a band-limited one
        weights = np.linalg.lstsq(gram, cross, rcond=None)[0]
    return max(float(cross @ weights), 0.0)
