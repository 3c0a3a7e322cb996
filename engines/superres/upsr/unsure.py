"""The uncertainty map of UPSR as a figure: where the estimate is unsure, and detail is invented."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from engines.base import Figure
from engines.superres.upsr.schedule import share_unsure
from engines.superres.upsr.unet import SCALE

_LONGEST = 1024  # side of the figure


class Unsure:
    """Collects the map from tiles; one byte for each pixel of the small picture."""

    def __init__(self) -> None:
        self._tiles: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def add(self, place: tuple[int, int], weight: Tensor) -> None:
        """One tile: (y, x) of its first pixel, and (1, 3, 4h, 4w) share of the noise."""
        share = avg_pool2d(share_unsure(weight), SCALE).mean(dim=1)[0]
        self._tiles[place] = (share * 255.0).round().byte().cpu().numpy()

    def figures(self, folder: Path, stem: str, size: tuple[int, int]) -> Sequence[Figure]:
        """Write the map of a picture of `size` (height, width); nothing if there was no tile."""
        if not self._tiles:
            return ()
        top, left = (min(place[axis] for place in self._tiles) for axis in (0, 1))
        whole = np.zeros(size, dtype=np.uint8)
        for (y, x), tile in self._tiles.items():
            rows, columns = whole[y - top :, x - left :][: tile.shape[0], : tile.shape[1]].shape
            whole[y - top : y - top + rows, x - left : x - left + columns] = tile[:rows, :columns]
        percent = whole.mean() / 2.55
        factor = _LONGEST / max(size)
        shown: NDArray[np.uint8] = whole
        if factor < 1.0:
            sides = (max(round(size[1] * factor), 1), max(round(size[0] * factor), 1))
            shown = np.asarray(cv2.resize(whole, sides, interpolation=cv2.INTER_AREA), np.uint8)
        path = folder / f"{stem}.uncertainty.png"
        cv2.imwrite(str(path), cv2.applyColorMap(shown, cv2.COLORMAP_INFERNO))
        return (
            Figure(
                path,
                "Uncertainty",
                "Bright where the estimate is unsure and the diffusion may invent; in the mean "
                f"{percent:.0f} %",
            ),
        )
