"""How far a noise model's law is from measured whole numbers: Kullback-Leibler divergence.

In bins of one level, of pixels that the models were not fitted to.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from engines.raw.calibrate.shape import Counts
from engines.raw.noise import tukey
from engines.raw.pnnp.arch import NoiseProxy
from engines.raw.pnnp.data import Setting

Array = NDArray[np.float64]
Cdf = Callable[[Array], Array]

_LEAST = 1e-9  # share of a bin


def divergences(
    network: NoiseProxy, setting: Setting, fresh: Counts | None = None
) -> dict[str, float]:
    """Divergence of what was counted (what was kept out, by default) from the laws of a setting:
    "gauss", "eld" and "pnnp", nats.
    """
    dark = setting.dark
    held = fresh or dark.held
    assert held is not None
    lam, scale = dark.law.lam or 0.0, dark.law.scale or dark.sigma
    return {
        "gauss": divergence(held, lambda x: ndtr(x / dark.sigma)),
        "eld": divergence(held, lambda x: tukey.cdf(x / scale, lam)),
        "pnnp": divergence(held, proxy_cdf(network, setting.iso)),
    }


def proxy_cdf(network: NoiseProxy, iso: float) -> Cdf:
    """Distribution function of the proxy's pixel noise, DN."""
    n, value = network.table("pixel", iso)
    rising = np.maximum.accumulate(value.astype(np.float64))
    rising += np.arange(rising.size) * 1e-9
    return lambda x: ndtr(np.interp(x, rising, n.astype(np.float64)))


def divergence(counts: Counts, cdf: Cdf) -> float:
    """Of what was counted from a law, nats; what chance leaves (half a nat a bin) is taken off."""
    phases = counts.table.sum(axis=1) / counts.total
    model = (phases[:, None] * (cdf(counts.offsets + 0.5) - cdf(counts.offsets - 0.5))).sum(axis=0)
    real = counts.table.sum(axis=0) / counts.total
    seen = real > 0.0
    found = float(real[seen] @ np.log(real[seen] / np.maximum(model[seen], _LEAST)))
    return found - 0.5 * (np.count_nonzero(seen) - 1) / counts.total
