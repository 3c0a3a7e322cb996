"""The noise of a diffusion as one field over the whole picture, whatever the tiles.

Each value belongs to a seed, a stream (the number of the draw), a channel and a place, and comes
from a counter-based generator (Philox, Salmon et al. 2011) by blocks of 64x64. Tiles that overlap
see the same noise where they do, their order does not matter, and nothing is kept in memory.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_BLOCK = 64
_FAR = 1 << 31  # blocks; makes the number of every block positive


def noise_field(
    seed: int, stream: int, channels: int, y: int, x: int, height: int, width: int
) -> Tensor:
    """Standard normal noise of a part of the field.

    Args:
        seed: 0 to 2^31 - 1.
        stream: number of the draw within one sampling, 0 to 2^31 - 1.
        channels: channels wanted; more channels do not change the first.
        y: first row, of any sign.
        x: first column, of any sign.
        height: rows wanted, at least 1.
        width: columns wanted, at least 1.

    Returns:
        (channels, height, width) float32 on the CPU.
    """
    out = torch.empty(channels, height, width)
    for row in range(y // _BLOCK, (y + height - 1) // _BLOCK + 1):
        for column in range(x // _BLOCK, (x + width - 1) // _BLOCK + 1):
            top, left = row * _BLOCK, column * _BLOCK
            ys = slice(max(top, y), min(top + _BLOCK, y + height))
            xs = slice(max(left, x), min(left + _BLOCK, x + width))
            block = _block(seed, stream, row, column, channels)
            out[:, ys.start - y : ys.stop - y, xs.start - x : xs.stop - x] = block[
                :, ys.start - top : ys.stop - top, xs.start - left : xs.stop - left
            ]
    return out


def _block(seed: int, stream: int, row: int, column: int, channels: int) -> Tensor:
    # Philox gives independent streams for keys; its counter advances within the block.
    key = np.array(
        [seed | stream << 32, (row + _FAR) | (column + _FAR) << 32], dtype=np.uint64
    )  # fmt: skip
    values = np.random.Generator(np.random.Philox(key=key)).standard_normal(
        (channels, _BLOCK, _BLOCK), dtype=np.float32
    )
    return torch.from_numpy(values)
