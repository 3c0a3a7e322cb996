"""Measures of enhanced speech, the rule of mixing, and finding a system's lag.

Waves are one-dimensional float arrays at 16 kHz unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
PEAK = 0.9  # no mixture is louder
_TINY = 1e-20

Wave = NDArray[np.floating]


@dataclass(frozen=True)
class Mean:
    """A mean and half the width of its 95 % interval (normal approximation, 0 for one value)."""

    value: float
    half: float
    count: int


def mean(values: Sequence[float | None]) -> Mean | None:
    """Mean of the values that are there; None where none is. A peer may give what is no number."""
    given = np.array([value for value in values if value is not None], dtype=np.float64)
    known = given[np.isfinite(given)]
    if not len(known):
        return None
    half = 1.96 * known.std(ddof=1) / np.sqrt(len(known)) if len(known) > 1 else 0.0
    return Mean(float(known.mean()), float(half), len(known))


def mix(speech: Wave, noise: Wave, snr: float, start: int = 0) -> tuple[Wave, Wave]:
    """Add noise at a signal-to-noise ratio of the whole clip.

    Both lose their DC, the noise is repeated to the length from sample `start` on, the ratio of
    the whole clips' RMS becomes `snr` dB, and then both mixture and speech are scaled by the same
    factor, to a peak of at most 0.9 in either.

    Args:
        speech: [N] clean speech.
        noise: [M] noise, M > 0 and not silent.
        snr: dB.
        start: the noise's sample that comes first.

    Returns:
        The mixture and the speech within it, [N] float32 each.
    """
    clean = speech.astype(np.float64) - speech.mean(dtype=np.float64)
    whole = noise.astype(np.float64) - noise.mean(dtype=np.float64)
    place = (start + np.arange(len(clean))) % len(whole)
    added = whole[place] - whole[place].mean()
    added *= np.sqrt(np.mean(clean**2) / max(np.mean(added**2), _TINY)) * 10.0 ** (-snr / 20.0)
    mixture = clean + added
    loudest = max(float(np.abs(mixture).max()), float(np.abs(clean).max()), _TINY)
    scale = min(1.0, PEAK / loudest)
    return (mixture * scale).astype(np.float32), (clean * scale).astype(np.float32)


def lag(reference: Wave, found: Wave, limit: int = RATE // 10) -> int:
    """Samples by which `found` comes later than `reference`, by the cross-correlation's top.

    A system may turn the polarity round, so that its size counts and not its sign.

    Args:
        reference: [N].
        found: [M].
        limit: the largest lag that is looked for, either way.
    """
    size = 1 << (len(reference) + len(found)).bit_length()
    spectrum = np.fft.rfft(found, size) * np.conj(np.fft.rfft(reference, size))
    both = np.fft.irfft(spectrum, size)
    near = np.concatenate([both[-limit:], both[: limit + 1]])
    return int(np.argmax(np.abs(near))) - limit


def shift(wave: Wave, by: int, length: int) -> Wave:
    """`wave` begun `by` samples later (earlier if negative), cut or filled with zeros to length."""
    out = np.zeros(length, dtype=np.float32)
    part = wave[max(by, 0) :]
    at = max(-by, 0)
    part = part[: max(length - at, 0)]
    out[at : at + len(part)] = part
    return out


def si_sdr(reference: Wave, found: Wave) -> float | None:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), no mean removed.

    None for a silent reference; 100 dB at most, where nothing was changed.
    """
    s, h = reference.astype(np.float64), found.astype(np.float64)
    energy = float(s @ s)
    if energy < _TINY:
        return None
    target = (h @ s) / energy * s
    error = h - target
    return min(100.0, float(10.0 * np.log10((target @ target + _TINY) / (error @ error + _TINY))))


def log_spectral_distance(reference: Wave, found: Wave) -> float:
    """Root mean square over frequency of the difference of log spectra, mean over frames, in dB.

    Frames of 32 ms every 16 ms, Hann window; power is floored 60 dB under the reference's top.
    """
    a, b = _power(reference), _power(found)
    floor = max(float(a.max()) * 1e-6, _TINY)
    difference = 10.0 * np.log10(np.maximum(a, floor) / np.maximum(b, floor))
    return float(np.sqrt((difference**2).mean(axis=1)).mean())


def level(wave: Wave) -> float:
    """RMS in dB under full scale; -200 for digital silence."""
    power = float(np.mean(wave.astype(np.float64) ** 2)) if len(wave) else 0.0
    return 10.0 * float(np.log10(max(power, _TINY)))


def pesq(reference: Wave, found: Wave) -> float | None:
    """Wide-band PESQ (ITU-T P.862.2); None where the measure finds no speech.

    Raises:
        ImportError: the package is not installed.
    """
    from pesq import NoUtterancesError
    from pesq import pesq as measure

    try:
        return float(measure(RATE, reference, found, "wb"))
    except (NoUtterancesError, ValueError):  # silent or shorter than a quarter of a second
        return None


def estoi(reference: Wave, found: Wave) -> float:
    """Extended short-time objective intelligibility (Jensen and Taal 2016).

    Raises:
        ImportError: the package is not installed.
    """
    from pystoi import stoi

    return float(stoi(reference.astype(np.float64), found.astype(np.float64), RATE, extended=True))


def scores(
    reference: Wave, found: Wave, dnsmos: Callable[[Wave], dict[str, float | None]] | None = None
) -> dict[str, float | None]:
    """Every measure of one clip.

    Args:
        reference: [N] clean speech.
        found: [N] a system's output, aligned.
        dnsmos: a `Dnsmos` to ask too.

    Raises:
        ImportError: a measure is not installed.
    """
    row = {
        "pesq": pesq(reference, found),
        "estoi": estoi(reference, found),
        "si_sdr": si_sdr(reference, found),
        "lsd": log_spectral_distance(reference, found),
    }
    return row if dnsmos is None else {**row, **dnsmos(found)}


def _power(wave: Wave, size: int = 512, hop: int = 256) -> NDArray[np.float64]:
    padded = np.pad(wave.astype(np.float64), (0, max(size - len(wave), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
