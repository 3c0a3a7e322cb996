"""From a developed photograph back to something like the linear raw that it came from.

After Brooks et al. 2019 ("Unprocessing images for learned raw denoising") with the constants of
YOND's recipe: inverse tone curve, inverse encoding, a random mixture of camera matrices, inverse
white balance and exposure with highlights kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.media.raw_colour import XYZ_FROM_SRGB

Floats = NDArray[np.float32]

# XYZ -> camera under D65, as in the DNG tables of four common cameras (x 10000).
_XYZ_TO_CAMERA = (
    np.array(
        [
            [6446, -366, -864, -4436, 12204, 2513, -952, 2496, 6348],  # Canon EOS 5D Mark IV
            [7034, -804, -1014, -4420, 12564, 2058, -851, 1994, 5758],  # Canon EOS 70D
            [10405, -3755, -1270, -5461, 13787, 1793, -1040, 2015, 6785],  # Nikon D850
            [5838, -1430, -246, -3497, 11477, 2297, -748, 1885, 5778],  # Sony A7S
        ],
        dtype=np.float64,
    ).reshape(4, 3, 3)
    / 10000.0
)


def decode_srgb(values: Floats) -> Floats:
    """sRGB-encoded [0, 1] -> linear light [0, 1]."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


def unprocess(rgb: Floats, random: np.random.Generator) -> Floats:
    """(H, W, 3) sRGB-encoded [0, 1] -> (H, W, 3) linear camera RGB [0, 1], not white-balanced."""
    if random.random() < 0.5:  # some pictures had a contrast curve, some had none
        rgb = (0.5 - np.sin(np.arcsin(1.0 - 2.0 * rgb) / 3.0)).astype(np.float32)
    linear = decode_srgb(rgb)
    share = random.dirichlet(np.ones(4))
    matrix = np.tensordot(share, _XYZ_TO_CAMERA, axes=1) @ XYZ_FROM_SRGB
    matrix /= matrix.sum(axis=1, keepdims=True)
    camera = np.clip(linear @ matrix.T.astype(np.float32), 0.0, 1.0)
    bright = max(float(random.normal(0.8, 0.1)), 0.3)
    if random.random() < 0.1:
        bright *= 5.0
    gains = np.array([random.uniform(1.4, 2.5), 1.0, random.uniform(1.5, 2.4)]) * bright
    return _divide_keeping_highlights(camera, gains.astype(np.float32))


def _divide_keeping_highlights(camera: Floats, gains: Floats) -> Floats:
    """Undo white balance and exposure; near white a pixel stays white, as in a clipped sensor."""
    grey = camera.mean(axis=2, keepdims=True)
    mask = np.clip((grey - 0.9) / 0.1, 0.0, None) ** 2
    inverse = 1.0 / gains
    return np.clip(camera * np.maximum(mask + (1.0 - mask) * inverse, inverse), 0.0, 1.0)
