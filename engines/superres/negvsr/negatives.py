"""NegVSR's augmentation: noise mixed into a clip, and its small patches turned.

A negative still holds what the noise is like, but no longer its structure; a network that draws
the same from it as from the clip itself does not take noise for detail.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

GRID = 16  # patches along a frame's side
_SHARE = 0.5  # of the noise in a mixture


def mixed_with(frames: Tensor, noise: Tensor) -> Tensor:
    """Half of each; both (B, T, 3, h, w) in 0..1, frame for frame."""
    return (1.0 - _SHARE) * frames + _SHARE * noise


def draw_turns(random: np.random.Generator, batch: int, count: int, share: float) -> Tensor:
    """(B, T, 16, 16) quarter turns of each patch, for `turned`.

    Args:
        random: draws.
        batch: clips.
        count: frames.
        share: of the patches that are turned, by 0 to 4 quarters alike; 0 and 4 are the same.
    """
    shape = (batch, count, GRID, GRID)
    turns = random.integers(0, 5, shape) % 4
    return torch.from_numpy(np.where(random.random(shape) <= share, turns, 0))


def turned(frames: Tensor, turns: Tensor) -> Tensor:
    """Frames whose patches are turned anticlockwise.

    Args:
        frames: (B, T, 3, h, w); the sides are equal multiples of 16.
        turns: (B, T, 16, 16) quarters, 0 to 3.
    """
    batch, count, channels, height, width = frames.shape
    side = height // GRID
    patches = frames.reshape(batch, count, channels, GRID, side, GRID, side)
    patches = patches.permute(0, 1, 3, 5, 2, 4, 6)  # B, T, rows, columns, 3, side, side
    wanted = turns.to(frames.device)[..., None, None, None]
    found = patches
    for quarters in (1, 2, 3):
        found = torch.where(wanted == quarters, torch.rot90(patches, quarters, (-2, -1)), found)
    return found.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, count, channels, height, width)
