"""How a sensor's picture becomes stacks of four planes for the network, and comes back.

The network knows one thing: four planes that lie in each other's gaps like the colours of a Bayer
mosaic. Of what was tried on mosaics with known truth (`bench raw-mosaics`) these measured best:

* Bayer: the four planes.
* Monochrome: the four places of a two by two cell, all of one colour.
* Demosaiced: four Bayer mosaics, one a phase, taken out of it; every value is in one, greens in
  two. (Each channel alone, like a monochrome picture, loses what colours say of each other.)
* Four colours: two stacks. The network expects one colour in its second and third plane, so each
  of the two that are there is interpolated into the other's place once, and only what is real is
  kept. (The planes as they are, and each alone, are 0.1 to 0.7 dB behind.)
* Quad-Bayer: the second and third row of each four change places, and so do the columns; what
  comes out is a Bayer mosaic whose photosites are one pixel out of place.
* X-Trans: four Bayer mosaics, one a phase. Where the sensor sees the colour that is wanted the
  photosite's own value stands, elsewhere one interpolated from its neighbours. Only the former are
  kept, so every photosite gets its value from a Bayer mosaic in which it is real.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from engines.media.raw_facts import RawFacts
from engines.raw.yond.order import first, places, reflected, swapped
from engines.raw.yond.phases import Demosaiced, XTrans

_QUAD = "RRGGRRGGGGBBGGBB"


class Layout(Protocol):
    """One kind of picture, (H, W) or (H, W, channels) values with 0 at black and 1 at white."""

    @property
    def photosites(self) -> bool:
        """Whether each value is one photosite's own, so that one of them alone can be lit."""
        ...

    def measured(self, values: Tensor) -> list[Tensor]:
        """Stacks (4, h, w) of the picture's own values, all of them if they are photosites'."""
        ...

    def sizes(self, values: Tensor) -> list[tuple[int, int]]:
        """Height and width of each of the `worked` stacks."""
        ...

    def worked(self, values: Tensor) -> Iterator[Tensor]:
        """Stacks (4, h, w) to denoise, one after the other."""
        ...

    def gathered(self, stacks: Iterator[Tensor]) -> Tensor:
        """The picture from what was made of `worked`, in its order."""
        ...


def layout_of(facts: RawFacts) -> Layout:
    """That of a file.

    Raises:
        UserError: an X-Trans filter that is laid out as no known one.
    """
    size = facts.height, facts.width
    match facts.kind:
        case "xtrans":
            return XTrans(facts.cfa, *size)
        case "quad":
            front = first(facts.cfa, 4, lambda cell: "".join(cell) == _QUAD)
            rows, columns = (swapped(n, f) for n, f in zip(size, front, strict=True))
            return Grid((rows, columns), size)
        case "linear":
            return Demosaiced(*size)
        case "four":
            phase = ("RGGB", "GRBG", "GBRG", "BGGR")[max(facts.cfa.find("R"), 0)]
            return FourColours(Grid(reflected(size, phase), size))
        case "mono":
            return Grid(reflected(size, "RGGB"), size)
        case "bayer":
            return Grid(reflected(size, facts.cfa), size)


@dataclass(frozen=True)
class Packed:
    """Four planes, (4, h, w), that are a stack already."""

    photosites: bool = True

    def measured(self, values: Tensor) -> list[Tensor]:
        """See `Layout`."""
        return [values]

    def sizes(self, values: Tensor) -> list[tuple[int, int]]:
        """See `Layout`."""
        return [(values.shape[1], values.shape[2])]

    def worked(self, values: Tensor) -> Iterator[Tensor]:
        """See `Layout`."""
        yield values

    def gathered(self, stacks: Iterator[Tensor]) -> Tensor:
        """See `Layout`."""
        [found] = stacks
        return found


@dataclass(frozen=True)
class Grid:
    """Rows and columns of the picture in another order, every second of them a plane.

    Attributes:
        order: for each row (and each column) of the ordered picture, that of the picture.
        size: height and width of the picture.
    """

    order: tuple[Tensor, Tensor]
    size: tuple[int, int]
    photosites: bool = True

    def measured(self, values: Tensor) -> list[Tensor]:
        """See `Layout`."""
        ordered = values[self.order[0]][:, self.order[1]]
        return [torch.stack([ordered[y::2, x::2] for y in (0, 1) for x in (0, 1)])]

    def sizes(self, values: Tensor) -> list[tuple[int, int]]:
        """See `Layout`."""
        return [(len(self.order[0]) // 2, len(self.order[1]) // 2)]

    def worked(self, values: Tensor) -> Iterator[Tensor]:
        """See `Layout`."""
        yield from self.measured(values)

    def gathered(self, stacks: Iterator[Tensor]) -> Tensor:
        """See `Layout`."""
        planes = next(stacks)
        full = planes.new_empty((2 * planes.shape[1], 2 * planes.shape[2]))
        for plane, (y, x) in zip(planes, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
            full[y::2, x::2] = plane
        rows, columns = (places(o, n) for o, n in zip(self.order, self.size, strict=True))
        return full[rows][:, columns]


@dataclass(frozen=True)
class FourColours:
    """Four different colours in a cell; red, if there is one, is the grid's first plane."""

    grid: Grid
    photosites: bool = True

    def measured(self, values: Tensor) -> list[Tensor]:
        """See `Layout`."""
        return self.grid.measured(values)

    def sizes(self, values: Tensor) -> list[tuple[int, int]]:
        """See `Layout`."""
        return 2 * self.grid.sizes(values)

    def worked(self, values: Tensor) -> Iterator[Tensor]:
        """See `Layout`."""
        [stack] = self.grid.measured(values)
        height, width = stack.shape[1:]
        for kept, filled in ((1, 2), (2, 1)):
            framed = functional.pad(stack[kept][None], (1, 1, 1, 1), mode="reflect")[0]
            # Its diagonal neighbours: this cell's and the next ones' below and left, or the others.
            rows, columns = ((1, 2), (0, 1)) if kept == 1 else ((0, 1), (1, 2))
            around = [framed[y : y + height, x : x + width] for y in rows for x in columns]
            planes = stack.clone()
            planes[filled] = torch.stack(around).mean(dim=0)
            yield planes

    def gathered(self, stacks: Iterator[Tensor]) -> Tensor:
        """See `Layout`."""
        first, second = next(stacks), next(stacks)
        found = 0.5 * (first + second)
        found[1], found[2] = first[1], second[2]
        return self.grid.gathered(iter([found]))
