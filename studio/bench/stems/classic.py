"""Separation without training: matrix factorisation, harmonic and percussive parts, ideal masks.

All take a mixture and give an estimate of each source that is asked for; where a method does not
know which of its parts is which, it is told by the sources themselves ("oracle"), the most that it
could do.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from kernels.stft import Stft
from studio.bench.stems.sets import Mixture, Wave

Separate = Callable[[Mixture], Wave]  # -> (asked, samples)
STFT = Stft(1024, 256, "hann")
_PARTS = 16  # components of the long factorisation
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


def factorised(each: bool) -> Separate:
    """Non-negative matrix factorisation (Kullback-Leibler) of the modulus.

    A part goes to the source whose spectrogram holds most of it; parts of a source together make
    a Wiener mask. Of one part a sound the oracle tells the order alone; of 16 it tells whose each
    one is, which is more than anybody could know.

    Args:
        each: as many parts as there are sounds, in place of 16.

    Raises:
        ImportError: scikit-learn is not installed, when a mixture is separated.
    """

    def separate(one: Mixture) -> Wave:
        whole = spectrum(one.mixed)
        parts = _parts(np.abs(whole), len(one.sources) if each else _PARTS)
        share = parts / (parts.sum(axis=0) + _LEAST)
        held = np.square(np.abs(spectrum(one.sources))).reshape(len(one.sources), -1)
        kept = held @ share.reshape(len(share), -1).T  # energy of a source in a part
        owner = kept.argmax(axis=0)
        found = [whole * share[_own(owner, kept, place)].sum(axis=0) for place in one.asked]
        return wave(np.stack(found).astype(np.complex64), one.mixed.shape[-1])

    return separate


def _own(owner: NDArray[np.intp], kept: NDArray[np.floating], place: int) -> NDArray[np.intp]:
    """Parts of a source; the one that holds most of it where all parts are others'."""
    mine = np.flatnonzero(owner == place)
    return mine if len(mine) else kept[place].argmax(keepdims=True)


def _parts(modulus: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    """(count, bins, frames) parts that add up to about the modulus."""
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    model: Any = NMF(
        n_components=count,  # pyright: ignore[reportArgumentType]
        init="nndsvda",
        solver="mu",
        beta_loss="kullback-leibler",
        max_iter=_STEPS,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        profiles = model.fit_transform(modulus.astype(np.float64) + _LEAST)
    return np.einsum("bk,kt->kbt", profiles, model.components_)


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
