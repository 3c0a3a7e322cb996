"""What every way of enlarging is to the rest: a thing that turns one tile into a larger one.

`tiles` cuts pictures into tiles and puts results together; networks know nothing of whole pictures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from torch import Tensor

from engines.base import Figure
from engines.superres.meter import Meter, Pass
from engines.superres.resample import Kind
from engines.superres.rows import Sink, Source


@dataclass(frozen=True)
class Tiling:
    """How a picture may be cut for a network; all lengths are pixels of the input.

    Attributes:
        halo: pixels beyond a place that its result depends on. Tiles get such a margin, which is
            cut off again, and the result is that of the whole picture. None where it depends on
            the whole tile (attention, pooling, norms): tiles then overlap and are blended.
        tile: side of a tile without its margin; where `halo` is None, of all tiles alike.
        overlap: pixels that neighbours share where `halo` is None, at least an eighth of `tile`.
        multiple: sides must be multiples of it; what lacks is mirrored at the right and the foot.
        bytes_per_pixel: memory that a pixel of a tile takes while it is worked on, about; tiles
            are made smaller where there is too little.
        fixed: the network is shown tiles of this size alone, whatever a person asks for.
    """

    halo: int | None
    tile: int = 256
    overlap: int = 0
    multiple: int = 1
    bytes_per_pixel: int = 4096
    fixed: bool = False


class Upscaler(Protocol):
    """One network (or filter) at its native factor."""

    @property
    def scale(self) -> int:
        """Native factor, 1 for restoring alone."""
        ...

    @property
    def tiling(self) -> Tiling:
        """How pictures may be cut for it."""
        ...

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        """Enlarge one tile.

        Args:
            lr: (1, 3, h, w) float32 RGB in 0..1 on the job's device.
            place: (y, x) of its first pixel in the picture; a margin beyond the picture's edge
                makes it negative.
            full: work in float32 throughout, as the first attempt overflowed.

        Returns:
            (1, 3, h·scale, w·scale) float32, not necessarily clamped, on any device.

        Raises:
            Cancelled: passed through from the meter's `check`.
        """
        ...


@dataclass(frozen=True)
class Site:
    """Where a `Whole` works.

    Attributes:
        file: name of a file -> where to put it.
        meter: counts tiles and stops at them.
        device: torch device.
        name: of the picture, for sentences.
        origin: see `engines.superres.process.enlarge`.
    """

    file: Callable[[str], Path]
    meter: Meter
    device: str
    name: str
    origin: tuple[int, int]


class Whole(ABC):
    """One network (or filter) that goes over a picture by itself, at its native factor."""

    @property
    @abstractmethod
    def scale(self) -> int:
        """See `Upscaler`."""

    @abstractmethod
    def run(self, source: Source, sink: Sink, site: Site) -> None:
        """Work on a picture; see `engines.superres.tiles.Tiler.run`."""

    @abstractmethod
    def passes(self, size: tuple[int, int], channels: int) -> list[Pass]:
        """What the meter is told of it; `size` is the input's (height, width)."""

    @abstractmethod
    def room(self, size: tuple[int, int], channels: int) -> int:
        """Bytes of the disk that it takes at most besides its result."""


class Steps(Protocol):
    """What an upscaler of several steps tells while it works on a tile."""

    def check(self) -> None:
        """Call between steps; raises `Cancelled` if the person asked for a stop."""
        ...

    def step(self, done: int, total: int) -> None:
        """`done` of `total` steps on this tile are over."""
        ...


def _no_figures(_folder: Path, _stem: str, _size: tuple[int, int]) -> Sequence[Figure]:
    return ()


@dataclass(frozen=True)
class Method:
    """What an engine chose for one picture.

    Attributes:
        name: for the file's name, lower-case letters, digits and hyphens: "upsr-fast".
        stages: one after the other; the product of their factors is what was asked for, or more,
            and the rest is done by a filter. Without any the filter does all.
        models: ids of the weights used -> their sha256.
        filter: what brings the last stage's picture to the size asked for.
        generative: it invents; its colours are then held to the input's unless told otherwise.
        notes: plain sentences for the person.
        made: what the result is called.
        figures: called after the last tile with the workspace, the stem that every file's name
            has to begin with, and the input's (height, width); gives pictures that explain the
            result.
    """

    name: str
    stages: Sequence[Upscaler | Whole]
    models: Mapping[str, str] = field(default_factory=dict)
    filter: Kind = "lanczos"
    generative: bool = False
    notes: tuple[str, ...] = ()
    made: str = "Enlarged picture"
    figures: Callable[[Path, str, tuple[int, int]], Sequence[Figure]] = _no_figures


Make = Callable[[float, Steps], Method]  # (factor wanted, what to tell) -> what does it


_ENOUGH = 0.97  # of the factor wanted; a filter does the rest unseen


def chain(factor: float, natives: Sequence[int]) -> tuple[int, ...]:
    """Native factors whose product reaches a factor: the fewest stages, then the least excess.

    Args:
        factor: wanted, from 1 on.
        natives: factors that there are networks for, at least one, none below 1.

    Returns:
        The smaller factors first, as later stages work on more pixels.
    """
    found: list[tuple[int, ...]] = [(native,) for native in sorted(set(natives))]
    growing = [native for native in sorted(set(natives)) if native > 1]
    while growing:
        reached = [one for one in found if _product(one) >= factor * _ENOUGH]
        if reached:
            return min(reached, key=_product)
        found = [(*one, native) for one in found for native in growing if native >= one[-1]]
    return found[0]


def _product(factors: Sequence[int]) -> int:
    product = 1
    for one in factors:
        product *= one
    return product
