"""A trained network as what RED-Diff asks for: the noise in a noisy picture."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engines.base import UserError
from engines.superres.precision import mixed
from engines.superres.reddiff.schedule import Schedule
from engines.superres.reddiff.unet import AdmUnet

_AT_ONCE = 1 << 15  # pixels of tiles that a CPU is given in one batch; a GPU gets more
_ON_GPU = 16


class Prior:
    """ε̂(x_t, t) of a network.

    Args:
        network: in evaluation mode.
        name: of its weights, for sentences.
        check: called between its blocks, to stop there.
    """

    def __init__(self, network: AdmUnet, name: str, check: Callable[[], None]) -> None:
        self._network, self._name, self._check = network, name, check
        self.settings = network.settings
        self.schedule = Schedule(network.settings.schedule)

    def batch(self, tile: int, device: torch.device) -> int:
        """How many tiles of a side it takes at once."""
        pixels = _AT_ONCE if device.type == "cpu" else _ON_GPU * _AT_ONCE
        return max(pixels // tile**2, 1)

    @torch.no_grad()
    def noise(self, x: Tensor, t: int) -> Tensor:
        """Estimate the noise.

        Args:
            x: (B, 3, h, w) x_t, values about -1..1; sides are multiples of `settings.multiple`.
            t: its time, from 0 on.

        Returns:
            (B, 3, h, w) float32.

        Raises:
            UserError: the network gives no numbers, in full precision either.
            Cancelled: passed through from `check`.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        times = torch.full((len(x),), t, device=x.device)
        for wanted in (True, False):
            with mixed(x.device, wanted):
                found = self._network(x, times, self._check)[:, :3].float()
            if bool(torch.isfinite(found.sum())):
                return self._as_noise(found, x, t)
        raise UserError(f"The weights {self._name} gave no usable numbers; choose others")

    def _as_noise(self, found: Tensor, x: Tensor, t: int) -> Tensor:
        alpha = self.schedule.alpha(t)
        kept, spread = alpha**0.5, (1.0 - alpha) ** 0.5
        if self.settings.predicts == "v":
            return kept * found + spread * x
        if self.settings.predicts == "sample":
            return (x - kept * found) / spread
        return found
