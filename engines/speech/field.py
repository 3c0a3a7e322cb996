"""The sampler's noise as one field over a whole recording, whatever the chunks.

Each value belongs to an absolute frame, a frequency and the number of the draw, and comes from a
counter-based generator (Philox, Salmon et al. 2011). Chunks that overlap so see the same noise
where they do, a run with the same seed is the same run, and nothing is kept in memory.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_BLOCK = 64  # frames that are drawn together


class NoiseField:
    """Standard complex Gaussian noise (variance 1, half of it real) by frame and draw."""

    def __init__(self, seed: int) -> None:
        """`seed`: at least 0."""
        self._seed = seed

    def frames(self, draw: int, first: int, count: int, bins: int) -> Tensor:
        """Noise of some frames.

        Args:
            draw: running number of the draw within one sampling.
            first: absolute number of the first frame, at least 0.
            count: frames wanted.
            bins: frequencies of a frame.

        Returns:
            (bins, count) complex64 on the CPU.
        """
        blocks = [
            self._block(draw, number, bins)
            for number in range(first // _BLOCK, (first + count - 1) // _BLOCK + 1)
        ]
        skip = first % _BLOCK
        return torch.cat(blocks, dim=1)[:, skip : skip + count]

    def _block(self, draw: int, number: int, bins: int) -> Tensor:
        # Philox gives independent streams for keys; its counter advances within the block.
        bits = np.random.Philox(key=self._seed | draw << 32 | number << 64)
        values = np.random.Generator(bits).standard_normal((bins, _BLOCK, 2), dtype=np.float32)
        return torch.view_as_complex(torch.from_numpy(values)) * 0.5**0.5
