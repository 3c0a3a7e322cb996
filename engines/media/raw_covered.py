"""Covered columns of a sensor (optical black), where a file holds them and they are dark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rawpy
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.raw_open import open_raw

_LEAST = 24  # columns
_EDGE = 4  # columns at both ends, where light may reach
_DARK = 0.002  # of white


@dataclass(frozen=True)
class Covered:
    """Means of the covered part of each visible row.

    Attributes:
        means: (H,) DN, the columns' own level still in them.
        deviation: standard deviation of one covered pixel about its row, DN.
        columns: how many make up a mean.
    """

    means: NDArray[np.float64]
    deviation: float
    columns: int

    @property
    def sigma_row(self) -> float:
        """Standard deviation of the rows' offsets, DN, as far as it is more than chance."""
        even, odd = self.means[0::2], self.means[1::2]
        rows = float(np.mean([_high(even).var(), _high(odd).var()]))
        return float(np.sqrt(max(rows - self.deviation**2 / self.columns, 0.0)))


def read_covered(path: Path, black: float, white: float) -> Covered | None:
    """The covered columns left of the picture; None where there are none that are dark.

    Args:
        path: a RAW file that can be read.
        black: level of the picture's black, DN.
        white: likewise of its white.
    """
    raw = rawpy.RawPy()
    try:
        open_raw(raw, path)
        sizes, image = raw.sizes, raw.raw_image
        if image is None or image.ndim != 2 or sizes.left_margin < _LEAST:
            return None
        rows = slice(sizes.top_margin, sizes.top_margin + sizes.height)
        part = np.array(image[rows, _EDGE : sizes.left_margin - _EDGE], dtype=np.float64)
    except UserError:
        return None
    finally:
        raw.close()
    means = part.mean(axis=1)
    if len(means) < 64 or not part.any():
        return None
    left = part - means[:, None]
    deviation = float(left.std())
    middle = float(np.median(part))
    dark = abs(middle - black) < max(_DARK * white, 3.0 * deviation) and deviation < 0.02 * white
    # What is covered has no picture in it: its means change little from top to bottom.
    even = float(np.ptp([float(np.mean(strip)) for strip in np.array_split(means, 8)]))
    if deviation <= 0.0 or not dark or even > max(2.0 * deviation, 4.0):
        return None
    return Covered(means, deviation, part.shape[1])


def _high(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without slow change, variances kept: a row minus the next one, over the root of two."""
    return np.diff(rows) / np.sqrt(2.0)
