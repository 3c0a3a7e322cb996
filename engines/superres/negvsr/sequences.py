"""A film as sequences of frames that the network sees at once.

A sequence ends where the scene does, or at a number of frames; then the next one begins a few
frames earlier, and of those that both have, each gives the half that lies further from its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.media.video_read import Frame, Pixels
from engines.superres.negvsr.params import OVERLAP

_SMALL = (32, 18)  # width and height at which scenes are told apart
_CUT = 20.0  # levels of 8 bits between two frames, in the mean
_ALONE = 35.0  # where nothing is known of the frames before
_TIMES = 3.0  # as much as between the frames before
_OTHER = 0.15  # share of the pixels that have another brightness; a pan shows the same elsewhere
_BINS = 16
_REMEMBERED = 8


@dataclass(frozen=True)
class Sequence:
    """Frames that the network sees, of which `first` up to `end` are new."""

    frames: list[Frame]
    first: int
    end: int

    @property
    def fresh(self) -> int:
        """Number of frames that it gives."""
        return self.end - self.first


class Cuts:
    """Tells where a scene ends: a frame is unlike the last, and far more so than those before."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._steps: deque[float] = deque(maxlen=_REMEMBERED)

    def begins(self, pixels: Pixels) -> bool:
        """Whether a frame, (h, w, 3), is the first of another scene than the one given last."""
        small = cv2.resize(pixels, _SMALL, interpolation=cv2.INTER_AREA).astype(np.float32)
        if pixels.dtype == np.uint16:
            small /= np.float32(257.0)
        last, self._last = self._last, small
        if last is None:
            return False
        step = float(np.abs(small - last).mean())
        usual = float(np.mean(self._steps)) if self._steps else None
        unlike = step > _ALONE if usual is None else step > max(_CUT, _TIMES * usual)
        cut = unlike and _apart(last, small) > _OTHER
        if cut:
            self._steps.clear()
        else:
            self._steps.append(step)
        return cut


def _apart(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Share of the pixels by which the histograms of two frames differ, 0 to 1."""
    counts = [np.histogram(each, _BINS, (0.0, 256.0))[0] / each.size for each in (one, other)]
    return float(np.abs(counts[0] - counts[1]).sum()) / 2.0


def sequences(frames: Iterable[Frame], most: int) -> Iterator[Sequence]:
    """Cut a film into sequences; every frame is new in exactly one of them.

    Args:
        frames: of a film, in order.
        most: at least 2 · `OVERLAP`.
    """
    cuts = Cuts()
    held: list[Frame] = []
    first = 0
    for frame in frames:
        if cuts.begins(frame.pixels):
            yield Sequence(held, first, len(held))
            held, first = [], 0
        elif len(held) == most:
            yield Sequence(held, first, most - OVERLAP // 2)
            held, first = held[-OVERLAP:], OVERLAP - OVERLAP // 2
        held.append(frame)
    if held:
        yield Sequence(held, first, len(held))
