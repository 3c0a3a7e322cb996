"""From floating point to integers, with triangular dither where bits are lost audibly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Quantiser:
    """Turns blocks of one sound into integers of `bits`.

    Up to 16 bits, noise of triangular density and two steps' width is added before rounding
    (Lipshitz, Wannamaker and Vanderkooy 1992), which makes the error a steady, signal-free hiss.
    Samples that already are whole steps get none: digital silence stays silent and what has not
    been touched comes out as it was. The noise does not depend on how the sound is cut into blocks.

    Args:
        bits: 8 to 32.
        seed: of the dither.
    """

    def __init__(self, bits: int, seed: int = 0) -> None:
        self._scale = float(2 ** (bits - 1))
        self._shift = (16 if bits <= 16 else 32) - bits
        self._type = np.int16 if bits <= 16 else np.int32
        self._noise = np.random.default_rng(seed) if bits <= 16 else None

    def __call__(self, block: NDArray[np.float32]) -> NDArray[np.int16] | NDArray[np.int32]:
        """(n, channels) float32, full scale at 1, to integers of the same shape.

        Returns:
            int16 up to 16 bits, else int32; the value in the upper bits. Beyond full scale it is
            limited.
        """
        scaled = block.astype(np.float64) * self._scale
        whole = np.rint(scaled)
        if self._noise is not None:
            drawn = self._noise.random((*block.shape, 2), dtype=np.float32)
            dithered = np.rint(scaled + (drawn[..., 0] - drawn[..., 1]))
            whole = np.where(whole == scaled, whole, dithered)
        limited = np.clip(whole, -self._scale, self._scale - 1.0)
        return limited.astype(self._type) << self._shift
