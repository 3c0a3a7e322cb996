"""The mean of a network's eight views of a picture: its flips and turns, turned back.

A network that was not built to treat them alike errs a little differently in each, and the mean
errs less (Timofte et al., "Seven ways to improve example-based single image super resolution",
CVPR 2016). It costs eight times the time and is a little softer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engines.superres.upscaler import Steps, Tiling, Upscaler

_AXES = (-2, -1)


class Ensemble:
    """An `Upscaler` of eight calls of another."""

    def __init__(self, one: Upscaler, steps: Steps) -> None:
        """`steps` is asked between the calls whether to stop, and told of them."""
        self._one, self._steps = one, steps

    @property
    def scale(self) -> int:
        """See `Upscaler`."""
        return self._one.scale

    @property
    def tiling(self) -> Tiling:
        """See `Upscaler`."""
        return self._one.tiling

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        """See `Upscaler`."""
        total: Tensor | None = None
        for number in range(8):
            self._steps.check()
            self._steps.step(number, 8)
            turns, mirrored = number // 2, number % 2 == 1
            seen = lr.flip(-1) if mirrored else lr
            found = self._one.upscale(torch.rot90(seen, turns, _AXES), place, full)
            found = torch.rot90(found, -turns, _AXES)
            found = found.flip(-1) if mirrored else found
            total = found if total is None else total + found
        assert total is not None
        return total / 8.0
