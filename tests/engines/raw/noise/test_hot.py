"""Hot pixels against stars."""

from __future__ import annotations

import numpy as np
import torch

from engines.raw.noise.hot import hot_pixels
from kernels.bayer import pack

SCALE, GAIN, SIGMA = 16383.0, 4.0, 8.0


def _sky(seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return GAIN * random.poisson(60.0, (400, 600)) + random.normal(0.0, SIGMA, (400, 600))


def _planes(mosaic: np.ndarray) -> torch.Tensor:
    return pack(torch.from_numpy((mosaic / SCALE).astype(np.float32)), "RGGB")


def _found(mosaic: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return hot_pixels(_planes(mosaic), GAIN, SIGMA, SCALE)


def test_noise_alone_has_none() -> None:
    assert len(_found(_sky())[0]) == 0


def test_single_lit_photosites_are_found_and_replaced_by_their_surroundings() -> None:
    mosaic = _sky()
    random = np.random.default_rng(2)
    rows = random.choice(190, 25, replace=False) * 2
    columns = random.choice(290, 25, replace=False)
    for row, column in zip(rows, columns, strict=True):
        mosaic[row, 2 * column + row % 4 // 2] += random.uniform(600.0, 15_000.0)
    places, instead = _found(mosaic)
    assert 23 <= len(places) <= 25  # noise beside it may look like light
    mean = GAIN * 60.0 / SCALE
    assert float((instead - mean).abs().max()) < 5.0 * (GAIN * 240.0 + SIGMA**2) ** 0.5 / SCALE


def test_stars_stay() -> None:
    """Even the sharpest lens spreads a star over its neighbours (here a blur of 0.7 pixels)."""
    mosaic = _sky()
    random = np.random.default_rng(3)
    y, x = np.mgrid[-4:5, -4:5]
    for _ in range(60):
        row, column = random.integers(10, 380), random.integers(10, 580)
        dy, dx = random.uniform(-0.5, 0.5, 2)
        spot = np.exp(-((y - dy) ** 2 + (x - dx) ** 2) / (2 * 0.7**2))
        mosaic[row - 4 : row + 5, column - 4 : column + 5] += random.uniform(500, 12_000) * spot
    assert len(_found(mosaic)[0]) == 0


def test_edges_and_tiny_pictures() -> None:
    mosaic = _sky()
    mosaic[0, 0] = mosaic[399, 599] = 16_000.0
    places, _ = _found(mosaic)
    assert sorted(map(tuple, places.tolist())) == [(0, 0, 0), (3, 199, 299)]
    for size in ((2, 2), (4, 600), (1, 1)):
        assert len(hot_pixels(torch.zeros(4, *size), GAIN, SIGMA, SCALE)[0]) == 0
