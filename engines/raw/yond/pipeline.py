"""Stabilise, denoise, invert: one pass of YOND over packed planes, tile by tile.

Everything here works on planes normalised to 0 at black and 1 at white. The transform is pointwise,
so it is applied inside each tile and no second full-size array exists; peak memory beyond input
and output is a tile's features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.folded import Folded
from kernels.anscombe import algebraic_inverse, bias_table, forward, stabilise
from kernels.precision import fast_bfloat16

T_FACTOR = 1.03  # spread of the bias-corrected transform over most of its range, against 1
T_RANGE = (0.001, 0.2)  # beyond it no network of ours was trained

T = TypeVar("T")
Tile = tuple[int, int, int, int]  # top, left, bottom, right in packed pixels


@dataclass(frozen=True)
class Noise:
    """Gain K (DN per electron) and read noise sigma (DN) of one image."""

    gain: float
    sigma: float


def plan(height: int, width: int, side: int) -> list[Tile]:
    """Tiles of at most `side` by `side` that cover an image, row by row."""
    return [
        (top, left, min(top + side, height), min(left + side, width))
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]


def scattered(tiles: list[T], share: float) -> list[T]:
    """About `share` of the tiles, spread evenly over the image; at least four, or all."""
    count = max(4, math.ceil(share * len(tiles)))
    if count >= len(tiles):
        return tiles
    # The golden ratio's steps never fall into the rhythm of the rows.
    order = sorted(range(len(tiles)), key=lambda index: (index * 0.6180339887498949) % 1.0)
    return [tiles[index] for index in sorted(order[:count])]


def noise_level(noise: Noise, scale: float) -> float:
    """t: standard deviation of the noise where black to white spans one, stabilised domain.

    Args:
        noise: K and sigma in DN.
        scale: white minus black in DN.
    """
    ends = forward(torch.tensor([0.0, scale], dtype=torch.float64), noise.gain, noise.sigma)
    return T_FACTOR / float(ends[1] - ends[0])


def denoise_tiles(
    planes: Tensor,
    tiles: list[Tile],
    network: GuidedResUnet,
    noise: Noise,
    scale: float,
    strength: float,
    step: Callable[[], None],
    *,
    half: bool = True,
) -> Iterator[tuple[Tile, Tensor]]:
    """Denoise some tiles of an image.

    Args:
        planes: (4, h, w) float32 on the CPU, 0 at black and 1 at white, unclamped.
        tiles: see `plan`; sides but for the last are multiples of the network's.
        network: SNR-Net on its device.
        noise: K and sigma in DN.
        scale: white minus black in DN.
        strength: factor on the noise level told to the network, above 0.
        step: called before every tile; may raise `Cancelled`.
        half: allow features in bfloat16 where the processor multiplies it natively; the result
            differs by less than a hundredth of the noise.

    Yields:
        A tile and its denoised planes (4, bottom - top, right - left) on the CPU.
    """
    device = next(network.parameters()).device
    table = bias_table(noise.gain, noise.sigma)
    ends = forward(torch.tensor([0.0, scale], dtype=torch.float64), noise.gain, noise.sigma)
    low, span = float(ends[0]), float(ends[1] - ends[0])
    t = min(max(strength * T_FACTOR / span, T_RANGE[0]), T_RANGE[1])
    level = torch.tensor([t], device=device)
    brightest = stabilise(planes.max() * scale, noise.gain, noise.sigma, table)
    peak = ((brightest - low) / span).to(device)
    kind = torch.bfloat16 if half and fast_bfloat16(device) else torch.float32
    folded = Folded(network, level, peak, kind)
    halo = _halo(network)
    for tile in tiles:
        step()
        part = window(planes, tile, halo, network.multiple).to(device)
        z = stabilise(part * scale, noise.gain, noise.sigma, table)
        n = ((z - low) / span)[None].contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            n = folded(n)
        z = n[0] * span + low
        top, left, bottom, right = tile
        inner = z[:, halo : halo + bottom - top, halo : halo + right - left]
        clean = algebraic_inverse(inner, noise.gain, noise.sigma) / scale
        yield tile, clean.to("cpu", planes.dtype)


def _halo(network: GuidedResUnet) -> int:
    step = network.multiple
    return -(-network.receptive_radius // step) * step


def window(planes: Tensor, tile: Tile, halo: int, multiple: int) -> Tensor:
    """The tile with `halo` around it, mirrored at the borders, sides a multiple: (4, h, w)."""
    top, left, bottom, right = tile
    rows = _mirrored(top - halo, bottom + halo, multiple, planes.shape[1])
    columns = _mirrored(left - halo, right + halo, multiple, planes.shape[2])
    return planes[:, rows][:, :, columns]


def _mirrored(start: int, stop: int, multiple: int, size: int) -> Tensor:
    stop += -(stop - start) % multiple
    if size == 1:
        return torch.zeros(stop - start, dtype=torch.int64)
    index = torch.arange(start, stop) % (2 * size - 2)
    return torch.where(index >= size, 2 * size - 2 - index, index)
