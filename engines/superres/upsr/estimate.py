"""The estimators of `superres.upsr`: which ones a factor takes, and each as an `Upscaler`.

| picture | up to 2x | up to 4x | beyond |
|---|---|---|---|
| clean | fast-x2 | fast-x4 | both, one after the other |
| photo | fast-x4-photo, then reduced | fast-x4-photo | it, then the clean ones |

Only the first network of a chain sees a photograph's noise; what follows gets a clean picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engines.base import UserError
from engines.superres.fast import FastNet
from engines.superres.precision import mixed
from engines.superres.upscaler import Tiling, Upscaler, chain
from engines.superres.upsr.atd import Atd
from engines.weights import LoadedModel

_TILE = 384
_ATD_TILE = 192
_CLEAN = {2: "fast-x2", 4: "fast-x4"}
_PHOTO = "fast-x4-photo"


class FastUpscaler:
    """A `FastNet` as an `Upscaler`: exact in tiles, bfloat16 where the processor has it."""

    def __init__(self, network: FastNet, half: bool = True) -> None:
        """`half` allows bfloat16; the cubic part is float32 in any case."""
        self._network, self._half = network, half

    @property
    def scale(self) -> int:
        """See `Upscaler`."""
        return self._network.scale

    @property
    def tiling(self) -> Tiling:
        """See `Upscaler`."""
        channels = self._network.head.out_channels
        memory = 4 * (6 * channels + 8 * 3 * self.scale**2)  # maps that live at once
        return Tiling(halo=self._network.radius, tile=_TILE, bytes_per_pixel=memory)

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        """See `Upscaler`."""
        lr = lr.contiguous(memory_format=torch.channels_last)
        with mixed(lr.device, self._half and not full):
            detail = self._network.detail(lr)
        return self._network.enlarged(lr) + detail.float()


class AtdUpscaler:
    """The published regressor as an `Upscaler`, in float32: what it sorts by is close to a tie."""

    def __init__(self, network: Atd) -> None:
        self._network = network

    @property
    def scale(self) -> int:
        """See `Upscaler`."""
        return self._network.scale

    @property
    def tiling(self) -> Tiling:
        """See `Upscaler`."""
        network = self._network
        memory = 4 * (12 * network.channels + 12 * network.window**2)  # maps that live at once
        return Tiling(None, _ATD_TILE, _ATD_TILE // 4, network.window, memory)

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        """See `Upscaler`."""
        with mixed(lr.device, False):
            return self._network(lr)


def fast_names(factor: float, source: str) -> Sequence[str]:
    """Ids of the bundled estimators for a factor, one after the other."""
    if source != "photo":
        return [_CLEAN[scale] for scale in chain(factor, (2, 4))]
    rest = factor / 4
    return [_PHOTO, *(fast_names(rest, "clean") if rest > 1.03 else ())]


def upscaler(loaded: LoadedModel) -> Upscaler:
    """An estimator as an `Upscaler`.

    Raises:
        UserError: the weights are of another network.
    """
    if isinstance(loaded.network, FastNet):
        return FastUpscaler(loaded.network)
    if isinstance(loaded.network, Atd):
        return AtdUpscaler(loaded.network)
    raise UserError(f"The weights {loaded.file.id} are no estimator of UPSR; choose others")
