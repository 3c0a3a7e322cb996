"""Pictures as rows of linear light, whatever they come from, and their small version."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engines.media.picture_facts import Picture
from engines.raw.noiser.transfer import Transfer, decode_srgb

_STRIP_PIXELS = 1 << 18  # 32 features of so many pixels are 32 MB
LIFTED = 4.0  # EV between the two developments of a RAW
_TRUSTED = (0.45, 0.6)  # linear light of the brighter one: from here on the other takes over
_BLIND = 2**-16


class Rows(Protocol):
    """A picture of which any rows can be had."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        ...

    @property
    def transfer(self) -> Transfer:
        """How its file's numbers stand for light."""
        ...

    def linear(self, top: int, bottom: int) -> Tensor:
        """(3, bottom - top, width) float32 linear light on the CPU; grey three times."""
        ...

    def seen(self, top: int, bottom: int) -> NDArray[np.bool_] | None:
        """(bottom - top, width) what is not transparent; None where all is seen."""
        ...


class PictureRows:
    """The levels of a file, 8 or 16 bits, grey or RGB."""

    def __init__(self, picture: Picture, transfer: Transfer) -> None:
        self._pixels, self._alpha = picture.pixels, picture.alpha
        self.transfer = transfer
        most = int(np.iinfo(picture.pixels.dtype).max)
        levels = torch.arange(most + 1, dtype=torch.float64) / most
        self._light = transfer.decode(levels).float().numpy()

    @property
    def size(self) -> tuple[int, int]:
        """See `Rows`."""
        return self._pixels.shape[0], self._pixels.shape[1]

    def linear(self, top: int, bottom: int) -> Tensor:
        """See `Rows`."""
        light = torch.from_numpy(self._light[self._pixels[top:bottom]]).permute(2, 0, 1)
        return light.expand(3, -1, -1).contiguous()

    def seen(self, top: int, bottom: int) -> NDArray[np.bool_] | None:
        """See `Rows`."""
        return None if self._alpha is None else self._alpha[top:bottom] > 0


class DevelopedRows:
    """A RAW developed twice, as shot and brightened, so that its shadows have all their steps.

    LibRaw works in 16 bits; what is eight stops below white has no more than 8 of them as shot.
    """

    transfer = Transfer()

    def __init__(self, shot: NDArray[np.uint16], lifted: NDArray[np.uint16]) -> None:
        """Both are (H, W, 3) sRGB-encoded; `lifted` is `LIFTED` EV brighter, highlights cut."""
        self.shot = shot
        self._lifted = lifted
        levels = torch.arange(65536, dtype=torch.float64) / 65535
        self._light = decode_srgb(levels).float().numpy()

    @property
    def size(self) -> tuple[int, int]:
        """See `Rows`."""
        return self.shot.shape[0], self.shot.shape[1]

    def linear(self, top: int, bottom: int) -> Tensor:
        """See `Rows`."""
        shot = torch.from_numpy(self._light[self.shot[top:bottom]]).permute(2, 0, 1)
        lifted = torch.from_numpy(self._light[self._lifted[top:bottom]]).permute(2, 0, 1)
        low, high = _TRUSTED
        share = ((lifted.amax(0) - low) / (high - low)).clamp(0.0, 1.0)
        return torch.lerp(lifted * 2.0**-LIFTED, shot, share).contiguous()

    def seen(self, top: int, bottom: int) -> NDArray[np.bool_] | None:
        """See `Rows`."""
        return None


def strips(height: int, width: int, multiple: int = 1) -> Iterator[tuple[int, int]]:
    """(first, behind the last) row of strips of bounded size, their heights a multiple but last."""
    rows = max(_STRIP_PIXELS // width // multiple, 1) * multiple
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def made_small(
    rows: Rows, side: int, check: Callable[[], None]
) -> tuple[Tensor, NDArray[np.bool_]]:
    """A picture of at most `side` pixels along its longer side, each a mean of linear light.

    Args:
        rows: the picture.
        side: see above.
        check: called at every strip; may raise.

    Returns:
        (3, h, w) float32, and (h, w) whether at least half of a pixel is not transparent.
    """
    height, width = rows.size
    # A picture that is narrower than a block is made small along its other side alone.
    step = math.ceil(max(height, width) / side)
    down, across = min(step, height), min(step, width)
    h, w = height // down, width // across
    small = np.empty((3, h, w), np.float32)
    seen = np.ones((h, w), np.bool_)
    for top, bottom in strips(h * down, width, down):
        check()
        light = rows.linear(top, bottom).numpy()[:, :, : w * across]
        here = slice(top // down, bottom // down)
        blocks = light.reshape(3, -1, down, w, across)
        known = rows.seen(top, bottom)
        if known is None:
            small[:, here] = blocks.mean((2, 4))
            continue
        weights = known[:, : w * across].reshape(-1, down, w, across).astype(np.float32)
        share = weights.mean((1, 3))
        small[:, here] = (blocks * weights).mean((2, 4)) / np.maximum(share, _BLIND)
        seen[here] = share >= 0.5
    if not seen.any():
        seen[:] = True
    return torch.from_numpy(small), seen


def shrunk(light: Tensor, seen: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """(3, h, w) light and (h, w) what is seen of it, made small by means as `made_small` does."""
    step = math.ceil(max(light.shape[1:]) / side)
    step = max(min(step, *light.shape[1:]), 1)
    if step == 1:
        return light, seen
    share = functional.avg_pool2d(seen[None].float(), step)[0]
    mean = functional.avg_pool2d(light * seen, step) / share.clamp(min=_BLIND)
    known = share >= 0.5
    return mean, known if bool(known.any()) else torch.ones_like(known)
