"""A picture's worth of values in a file that is read and written by windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

CHANNELS = 3
BYTES = 4  # of a value


class Plane:
    """(3, height, width) float32, zero at first.

    Args:
        path: the file, written anew.
        size: height and width.
    """

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self._path = path
        self._shape = (size[0], CHANNELS, size[1])
        with path.open("wb") as file:
            file.truncate(BYTES * CHANNELS * size[0] * size[1])

    def window(self, top: int, bottom: int, left: int, right: int) -> Tensor:
        """A copy of a part, (3, bottom - top, right - left)."""
        # A mapping counts as memory of this process while it is there, so it is made anew.
        whole = np.memmap(self._path, np.float32, "r", shape=self._shape)
        part = np.array(whole[top:bottom, :, left:right].transpose(1, 0, 2), order="C")
        return torch.from_numpy(part)

    def put(self, top: int, rows: Tensor) -> None:
        """Write (3, n, width) from row `top` on."""
        whole = np.memmap(self._path, np.float32, "r+", shape=self._shape)
        whole[top : top + rows.shape[1]] = rows.permute(1, 0, 2).numpy()

    def remove(self) -> None:
        """Delete the file."""
        self._path.unlink(missing_ok=True)
