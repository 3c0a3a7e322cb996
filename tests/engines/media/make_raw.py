"""Synthetic RAW files for tests: DNG of any colour filter, levels and geometry, one folder each.

They are written by tifffile, a hand other than the one that is tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

# XYZ -> camera of a Canon EOS 550D under daylight, from its DNG files.
MATRIX = (0.6941, -0.1164, -0.0857, -0.3825, 1.1597, 0.2534, -0.0416, 0.1540, 0.6039)
XTRANS = "GGRGGBGGBGGRBRGRBGGGBGGRGGRGGBRBGBRG"
QUAD = "RRGGRRGGGGBBGGBB"

Tag = tuple[int, int, int, Any, bool]


def flat_patches(
    height: int, width: int, *, black: float = 512, white: float = 16383, seed: int = 1
) -> NDArray[np.uint16]:
    """A mosaic of grey patches from dark to bright with a little noise."""
    rng = np.random.default_rng(seed)
    steps = np.linspace(0.02, 0.7, 8)[np.arange(width) * 8 // width]
    signal = black + (white - black) * np.tile(steps, (height, 1))
    noisy = signal + rng.normal(0.0, 4.0, signal.shape)
    return np.clip(np.round(noisy), 0, white).astype(np.uint16)


def write_dng(
    path: Path,
    mosaic: NDArray[Any],
    *,
    cfa: str = "RGGB",
    colours: str = "RGB",
    black: Sequence[float] = (512, 512, 512, 512),
    white: int = 16383,
    wb: Sequence[float] = (2.0, 1.0, 1.5),
    matrix: Sequence[float] = MATRIX,
    illuminant: int = 21,
    orientation: int = 1,
    active: tuple[int, int, int, int] | None = None,
    crop: tuple[int, int, int, int] | None = None,
    frames: int = 1,
    photometric: int = 32803,
    layout: int = 1,
    compression: int = 1,
    make: str = "Acme",
    model: str = "Acme One",
    more: Sequence[Tag] = (),
) -> Path:
    """Write a DNG.

    Args:
        path: file to write.
        mosaic: (H, W) samples, or (H, W, 3) for a demosaiced file.
        cfa: colours of the cell from the active area's first pixel, 4, 16 or 36 letters, "" for
            none.
        colours: order of the channels, four letters of RGBCMYW where there are four.
        black: levels of the cell's four sites row by row, or one level.
        white: white level.
        wb: multipliers of a grey surface.
        matrix: XYZ -> camera, () for none.
        illuminant: of `matrix`.
        orientation: TIFF's.
        active: top, left, bottom, right of the visible area; None for all.
        crop: left, top, width, height within it.
        frames: how many pictures; every further one is 100 DN brighter.
        photometric, compression: what the file claims; the samples are always written plain.
        layout: CFALayout; 1 is a plain grid.
        make, model: of the camera.
        more: further tags, as tifffile wants them.
    """
    tags: list[Tag] = [
        (271, 2, len(make) + 1, make, True),
        (272, 2, len(model) + 1, model, True),
        (274, 3, 1, orientation, True),
        (50706, 1, 4, bytes((1, 4, 0, 0)), True),
        (50707, 1, 4, bytes((1, 1, 0, 0)), True),
        (50708, 2, len(model) + 1, model, True),
        (50717, 4, 1, white, True),
        (50728, 5, len(wb), _ratios([1 / one for one in wb]), True),
    ]
    if cfa:
        side = round(len(cfa) ** 0.5)
        tags += [
            (33421, 3, 2, (side, side), True),
            (33422, 1, len(cfa), bytes("RGBCMYW".index(letter) for letter in cfa), True),
            (50710, 1, len(colours), bytes("RGBCMYW".index(c) for c in colours), True),
            (50711, 3, 1, layout, True),
        ]
    if len(black) == 4:
        tags.append((50713, 3, 2, (2, 2), True))
    tags.append((50714, 5, len(black), _ratios(black), True))
    if matrix:
        tags += [(50721, 10, len(matrix), _ratios(matrix), True), (50778, 3, 1, illuminant, True)]
    if active is not None:
        tags.append((50829, 4, 4, active, True))
    if crop is not None:
        tags += [(50719, 4, 2, crop[:2], True), (50720, 4, 2, crop[2:], True)]
    with tifffile.TiffWriter(path) as tiff:
        for frame in range(frames):
            tiff.write(
                mosaic + mosaic.dtype.type(100 * frame),
                photometric="rgb" if mosaic.ndim == 3 else "cfa",
                planarconfig="contig" if mosaic.ndim == 3 else None,
                subfiletype=0,
                metadata=None,
                extratags=[*tags, *more],
            )
    claimed = {259: compression} if compression != 1 else {}
    if photometric != 32803:
        claimed[262] = photometric
    _claim(path, claimed)
    return path


def _ratios(values: Sequence[float]) -> tuple[int, ...]:
    found = [Fraction(value).limit_denominator(100_000) for value in values]
    return tuple(number for ratio in found for number in (ratio.numerator, ratio.denominator))


def _claim(path: Path, tags: dict[int, int]) -> None:
    """Make tags say what tifffile would not write."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for page in tiff.pages:
            assert isinstance(page, tifffile.TiffPage)
            for code, value in tags.items():
                page.tags[code].overwrite(value)
