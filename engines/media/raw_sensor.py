"""What a RAW file's samples are: which colour each photosite sees, or none, or all of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from pathlib import Path

import rawpy

from engines.base import UserError
from engines.media.dng_source import DngSource
from engines.media.raw_facts import BAYER

_XTRANS = (20, 8, 8)  # greens, reds and blues of the cell
_QUAD = ("RRGGRRGGGGBBGGBB", "GGRRGGRRBBGGBBGG", "GGBBGGBBRRGGRRGG", "BBGGBBGGGGRRGGRR")


@dataclass(frozen=True)
class Sensor:
    """Colours of the photosites.

    Attributes:
        cfa: see `RawFacts`; so `colours` and `channels`.
        indices: LibRaw's colour index of what black levels are wanted for: the cell's sites, four
            of a monochrome sensor, or the channels.
    """

    cfa: str
    colours: str
    channels: int
    indices: tuple[int, ...]

    @property
    def side(self) -> int:
        """Of the cell, pixels."""
        return isqrt(len(self.indices)) if self.channels == 1 else 1


def sensor_of(raw: rawpy.RawPy, path: Path, dng: DngSource | None) -> Sensor:
    """Find out.

    Args:
        raw: unpacked file.
        path: of the file.
        dng: what the file says if it is a DNG.

    Raises:
        UserError: its photosites lie or see in a way that is not dealt with here.
    """
    if raw.raw_type == rawpy.RawType.Stack and raw.num_colors > 1:
        if raw.num_colors != 3:
            raise UserError(
                f"{path.name} holds {raw.num_colors} colours in each pixel, and three are needed"
            )
        return Sensor("", "RGB", 3, (0, 1, 2))
    if raw.num_colors == 1:
        return Sensor("", "RGB", 1, (0, 0, 0, 0))
    pattern = raw.raw_pattern
    if pattern is None or (dng is not None and dng.staggered):
        raise UserError(
            f"{path.name} comes from a sensor whose photosites lie on no plain grid "
            "(Foveon, Super CCD); convert it to a linear DNG"
        )
    if dng is not None and dng.cell == (4, 4):
        return _of_table(raw, path, dng)
    side = len(pattern)
    indices = _sites(raw, side)
    if pattern.shape == (6, 6):
        cfa = "".join("RGBG"[index] for index in indices)
        if tuple(cfa.count(colour) for colour in "GRB") == _XTRANS:
            return Sensor(cfa, "RGB", 1, indices)
    elif pattern.shape == (2, 2) and raw.num_colors == 3:
        cfa = "".join("RGBG"[index] for index in indices)
        if cfa in BAYER:
            return Sensor(cfa, "RGB", 1, indices)
    elif pattern.shape == (2, 2) and sorted(indices) == [0, 1, 2, 3]:
        colours = dng.colours if dng is not None else raw.color_desc.decode("ascii", "replace")
        if len(set(colours)) == 4 and "?" not in colours:
            return Sensor("".join(colours[index] for index in indices), colours, 1, indices)
    raise _unknown(path, dng.filters if dng is not None else raw.color_desc.decode("ascii"))


def _of_table(raw: rawpy.RawPy, path: Path, dng: DngSource) -> Sensor:
    """Quad-Bayer, whose cell of four LibRaw does not know: by the DNG's own table."""
    top, left = raw.sizes.top_margin - dng.active[0], raw.sizes.left_margin - dng.active[1]
    table = dng.filters
    shifted = "".join(
        table[(y + top) % 4 * 4 + (x + left) % 4] if len(table) == 16 else "?"
        for y in range(4)
        for x in range(4)
    )
    if not any(shifted in _shifts(quad) for quad in _QUAD):
        raise _unknown(path, table)
    return Sensor(shifted, "RGB", 1, tuple("RGB".index(letter) for letter in shifted))


def _shifts(cell: str) -> set[str]:
    """A cell of 4 x 4 as it looks from each of its pixels."""
    return {
        "".join(cell[(y + dy) % 4 * 4 + (x + dx) % 4] for y in range(4) for x in range(4))
        for dy in range(4)
        for dx in range(4)
    }


def _sites(raw: rawpy.RawPy, side: int) -> tuple[int, ...]:
    """LibRaw's colour indices of the visible area's first cell."""
    top, left = raw.sizes.top_margin, raw.sizes.left_margin
    return tuple(raw.raw_color(top + y, left + x) for y in range(side) for x in range(side))


def _unknown(path: Path, filters: str) -> UserError:
    return UserError(
        f"{path.name} has a colour filter that is not known here ({filters}); Bayer, quad-Bayer, "
        "X-Trans and four-colour mosaics are"
    )
