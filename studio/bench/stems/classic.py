"""Separation without training: matrix factorisation, harmonic and percussive parts, ideal masks.

All take a mixture and give an estimate of each source that is asked for; where a method does not
know which of its parts is which, it is told by the sources themselves ("oracle"), the most that it
could do.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from kernels.stft import Stft
from studio.bench.stems.sets import Mixture, Wave

Separate = Callable[[Mixture], Wave]  # -> (asked, samples)
STFT = Stft(1024, 256, "hann")
_PARTS = 16  # components of the factorisation
_STEPS = 120
_WIDTH = 31  # of the median filters, as librosa has it
_LEAST = 1e-10
Spectrum = NDArray[np.complex64]


def spectrum(wave: Wave) -> Spectrum:
    """(..., n) -> (..., 513, T)."""
    return STFT.forward(torch.from_numpy(np.ascontiguousarray(wave))).numpy()


def wave(found: Spectrum, length: int) -> Wave:
    """Inverse of `spectrum`."""
    return STFT.inverse(torch.from_numpy(np.ascontiguousarray(found)), length).numpy()


def mixture(one: Mixture) -> Wave:
    """Nothing is done."""
    return np.repeat(one.mixed[None], len(one.asked), axis=0)


def ideal(one: Mixture) -> Wave:
    """The best binary mask there is: bins where the source is louder than all the rest."""
    whole = one.mixed
    found = []
    for place in one.asked:
        target = spectrum(one.sources[place])
        rest = spectrum(whole - one.sources[place])
        found.append(spectrum(whole) * (np.abs(target) > np.abs(rest)))
    return wave(np.stack(found).astype(np.complex64), whole.shape[-1])


def factorised(one: Mixture) -> Wave:
    """Non-negative matrix factorisation (Kullback-Leibler) of the modulus into 16 parts.

    Each part goes to the source whose spectrogram holds most of it; parts of a source together
    make a Wiener mask.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    whole = spectrum(one.mixed)
    modulus = np.abs(whole).astype(np.float64) + _LEAST
    model = NMF(
        _PARTS, init="nndsvda", solver="mu", beta_loss="kullback-leibler", max_iter=_STEPS,
        random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        profiles = model.fit_transform(modulus)
    parts = np.stack([np.outer(profiles[:, n], model.components_[n]) for n in range(_PARTS)])
    held = np.abs(spectrum(one.sources)).reshape(len(one.sources), -1)
    share = parts / (parts.sum(axis=0) + _LEAST)
    # How much of each source's own spectrogram the part's mask would keep, against the others.
    kept = np.square(held) @ share.reshape(_PARTS, -1).T
    owner = kept.argmax(axis=0)
    found = [whole * share[owner == place].sum(axis=0) for place in one.asked]
    return wave(np.stack(found).astype(np.complex64), one.mixed.shape[-1])


def harmonic_percussive(one: Mixture) -> Wave:
    """Harmonic and percussive part by median filters (Fitzgerald 2010), the way librosa does it.

    Each source that is asked for gets the part that resembles it more.
    """
    whole = spectrum(one.mixed)
    modulus = np.abs(whole)
    along = np.square(median_filter(modulus, size=(1, _WIDTH), mode="reflect"))
    across = np.square(median_filter(modulus, size=(_WIDTH, 1), mode="reflect"))
    harmonic = along / (along + across + _LEAST)
    parts = wave(
        np.stack([whole * harmonic, whole * (1.0 - harmonic)]).astype(np.complex64),
        one.mixed.shape[-1],
    )
    return in_best_order(parts, one)


def in_best_order(parts: Wave, one: Mixture) -> Wave:
    """For each source that is asked for, the part (m, n) that correlates best with it."""
    targets = one.sources[list(one.asked)].astype(np.float64)
    inner = np.abs(targets @ parts.T.astype(np.float64))
    norms = np.linalg.norm(parts.astype(np.float64), axis=1) + 1e-9
    return parts[(inner / norms).argmax(axis=1)]
