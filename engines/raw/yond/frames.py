"""Several pictures of one scene, of one file or of several: where they lie on one another.

Pictures that lie on one another are averaged before denoising, and the mean is denoised as one
picture with less noise: that keeps more detail than the mean of denoised pictures, each of which
has lost the same fine parts. Pictures that are shifted by whole photosites, so that every place of
the scene was seen in every colour (pixel shift), are put together by `engines.raw.yond.shifted`.
All else (a hand-held burst, an exposure series) is refused: its mean would be blurred or ghosted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Job, UserError
from engines.media.dng_source import read_dng_source
from engines.media.raw_facts import RawImage
from engines.media.raw_file import read_raw

Shift = tuple[int, int]  # rows and columns, photosites: what lies at p in the first lies at p + it

_APART = 0.35  # photosites from a whole number of them
_FARTHEST = 2  # photosites that pixel shift moves a sensor
_SURE = 0.05  # of a correlation's peak; below it nothing is known of a shift
_BRIGHTER = 0.1
_ALIKE = ("camera", "width", "height", "cfa", "black", "white", "iso", "exposure_s", "f_number")


@dataclass(frozen=True)
class Shot:
    """One picture: the file, and which of its pictures."""

    path: Path
    frame: int = 0

    def read(self) -> RawImage:
        """Raises `UserError` as `read_raw` does."""
        return read_raw(self.path, self.frame)

    @property
    def name(self) -> str:
        """For people, at a sentence's beginning."""
        return f"Picture {self.frame + 1} in {self.path.name}" if self.frame else self.path.name


@dataclass(frozen=True)
class Together:
    """What pictures are to each other.

    Attributes:
        mean: of all of them, DN, of the first one's shape.
        shifts: of each against the first.
    """

    mean: NDArray[np.float32]
    shifts: tuple[Shift, ...]

    @property
    def still(self) -> bool:
        """Whether all lie on one another."""
        return not any(any(shift) for shift in self.shifts)


def shots_of(paths: Sequence[Path]) -> list[Shot]:
    """All pictures of some files; one that cannot be read says so when it is."""
    return [Shot(path, n) for path in paths for n in range(_count(path))]


def _count(path: Path) -> int:
    """Pictures in a file, none of which is unpacked for it."""
    try:
        dng = read_dng_source(path)
    except OSError:
        dng = None
    return dng.frames if dng is not None else 1


def together(raw: RawImage, shots: Sequence[Shot], job: Job) -> Together:
    """Read all and say where they lie.

    Args:
        raw: the first of them.
        shots: all of them, at least two.
        job: for progress from 0 to 3, and cancelling.

    Raises:
        UserError: they are not of one scene, camera and exposure, or were taken from the hand.
    """
    total = raw.mosaic.astype(np.float32)
    first = _cells(raw)
    shifts: list[Shift] = [(0, 0)]
    for number, shot in enumerate(shots[1:], start=1):
        job.progress(3 * number / len(shots), 100, f"reading picture {number + 1} of {len(shots)}")
        job.check_cancelled()
        other = shot.read()
        _check_alike(raw, other, shots[0], shot)
        shifts.append(_shift(first, _cells(other), _side(raw), shot))
        total += other.mosaic
    total /= len(shots)
    return Together(total, tuple(shifts))


def _check_alike(raw: RawImage, other: RawImage, first: Shot, shot: Shot) -> None:
    for name in _ALIKE:
        if getattr(raw.facts, name) != getattr(other.facts, name):
            raise UserError(
                f"{shot.name} differs from {first.name} in camera, size, ISO or exposure; put "
                "together what was shot in one go"
            )


def _cells(raw: RawImage) -> NDArray[np.float32]:
    """Means of cells above black, square-rooted so that bright parts do not count for all."""
    side = _side(raw)
    rows, columns = raw.facts.height // side, raw.facts.width // side
    samples = raw.mosaic if raw.mosaic.ndim == 2 else raw.mosaic[:, :, 1]
    whole = samples[: rows * side, : columns * side].astype(np.float32)
    mean = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    above = np.maximum(mean - np.float32(np.mean(raw.facts.black)), np.float32(0.0))
    return np.sqrt(above)


def _side(raw: RawImage) -> int:
    return max(raw.facts.black_cell.shape[0], 2)


def _shift(first: NDArray[np.float32], other: NDArray[np.float32], side: int, shot: Shot) -> Shift:
    """Raise `UserError` if brightness differs, or the shift is none that a camera makes."""
    light = [float(np.square(one).mean()) for one in (first, other)]
    if abs(light[1] - light[0]) > _BRIGHTER * max(light):
        raise UserError(
            f"{shot.name} differs in brightness from the first picture, as in an exposure series; "
            "take the first picture, or merge them in your RAW converter"
        )
    window = cv2.createHanningWindow((first.shape[1], first.shape[0]), cv2.CV_32F)
    moved, peak = cv2.phaseCorrelate(first, other, window)
    if peak <= _SURE:
        return 0, 0
    columns, rows = (2.0 * part for part in moved)  # a cell of what pixel shift gives is 2 x 2
    found = round(rows), round(columns)
    off = max(abs(rows - found[0]), abs(columns - found[1]))
    if off > _APART or max(abs(part) for part in found) > (_FARTHEST if side == 2 else 0):
        raise UserError(
            f"{shot.name} is shifted against the first picture, as from the hand, so that together "
            "they would be blurred; take the first picture, or merge them in your RAW converter"
        )
    return found
