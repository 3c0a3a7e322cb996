"""The middle of the work: from a picture in memory to a result in a mapped file.

Rows run from the picture through the tiles of each network, to the size wanted, and to the levels
of a file; no picture of the result's size is ever whole in memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.base import Job, UserError
from engines.media.picture_facts import Picture, PictureFacts, Pixels
from engines.media.picture_write import WriteFormat, check_size
from engines.superres.colour import Matched, Statistics
from engines.superres.finish import Consistency, Finish, Look
from engines.superres.masks import enlarged_alpha, filled, unmeasured
from engines.superres.meter import Meter, Pass
from engines.superres.naming import file_kind
from engines.superres.params import SuperresParams
from engines.superres.resample import fitted
from engines.superres.rows import Both, Canvas, Levels, Resizing, Sink, Source, pump
from engines.superres.stepwise import Walk, passes, room, walks
from engines.superres.tiles import Tiler
from engines.superres.upscaler import Method, Site, Upscaler, Whole

_MOST = 16.0  # times the input's sides
_SPARE = 1.1


@dataclass(frozen=True)
class Work:
    """What is to be made of a picture.

    Attributes:
        picture: the input.
        factor: wanted, by the longer side.
        target: height and width of the result.
        form: its format.
        bits: of its samples.
        notes: plain sentences.
    """

    picture: Picture
    factor: float
    target: tuple[int, int]
    form: WriteFormat
    bits: int
    notes: tuple[str, ...]

    @classmethod
    def plan(cls, picture: Picture, params: SuperresParams) -> Work:
        """What `params` ask for.

        Raises:
            UserError: no file can hold that.
        """
        facts = picture.facts
        height, width = picture.pixels.shape[:2]
        longer = max(height, width)
        factor = params.scale if params.long_side is None else params.long_side / longer
        if factor > _MOST:
            raise UserError(
                f"{facts.name} would become {factor:.0f} times as large, and {_MOST:.0f} times is "
                "the most; choose a shorter side"
            )
        target = fitted(height, width, factor, params.long_side)
        form, bits, notes = file_kind(facts, params)
        check_size(form, *target, picture.pixels.shape[2], facts.name)
        if _nodata(facts, 2**bits - 1) != _nodata(facts, 2**facts.bits - 1):
            raise UserError(
                f"{facts.name} marks missing pixels by a level that {bits} bits cannot hold; keep "
                "its bit depth"
            )
        if factor < 1.0:
            notes.append("The picture is larger than was asked for, so it was made smaller")
        return cls(picture, factor, target, form, bits, tuple(notes))

    @property
    def scale(self) -> tuple[float, float]:
        """Height and width of the result over the input's."""
        height, width = self.picture.pixels.shape[:2]
        return self.target[0] / height, self.target[1] / width


@dataclass(frozen=True)
class Done:
    """A finished picture that waits to be written.

    Attributes:
        source: the input, as networks saw it.
        pixels: levels, a mapping of a file.
        white: level that is shown as white.
        alpha: likewise a mapping, or None.
        consistency: see `engines.superres.finish.Consistency`.
        files: what is mapped.
    """

    source: Source
    pixels: Pixels
    white: float
    alpha: Pixels | None
    consistency: float
    files: tuple[Path, ...]

    def remove(self) -> None:
        """Delete what the mappings are of; they are not used after this."""
        for file in self.files:
            file.unlink(missing_ok=True)


class Pipeline:
    """Sends one picture through an engine's method.

    Args:
        work: what is to be made.
        method: the networks.
        params: of the engine.
        job: workspace, device and cancellation.
        meter: told of every tile.
        origin: see `engines.superres.process.enlarge`.
    """

    def __init__(
        self,
        work: Work,
        method: Method,
        params: SuperresParams,
        job: Job,
        meter: Meter,
        origin: tuple[int, int],
    ) -> None:
        self._work, self._method, self._params = work, method, params
        self._job, self._meter, self._origin = job, meter, origin

    def run(self) -> Done:
        """Do it.

        Raises:
            UserError: the result has no room on the disk, or a network gives no numbers.
            Cancelled: passed through.
        """
        picture, work = self._work.picture, self._work
        self._check_room()
        holes = _holes(picture)
        pixels = picture.pixels if holes is None else filled(picture.pixels, holes)
        alpha = None
        if picture.alpha is not None:
            pixels = filled(pixels, picture.alpha == 0)
            alpha = enlarged_alpha(picture.alpha, work.target, work.bits, self._file("alpha"))
        full = float(np.iinfo(pixels.dtype).max)
        white = _white(pixels, picture.facts, full)
        source = Levels(pixels, white)
        look = Look(
            strength=self._params.strength if self._method.stages else 1.0,
            wavelet=self._colour() == "wavelet",
            recolour=None,
            bits=work.bits,
            white=white / full * (2**work.bits - 1),
            holes=holes,
            nodata=_nodata(picture.facts, 2**work.bits - 1),
        )
        check = Consistency(source, work.target)
        if self._colour() == "mean":
            finish = self._matched(source, look, check)
        else:
            finish = Finish(source, work.target, look, self._file("result"), check)
            self._stages(source, finish)
        files = (self._file("result"), self._file("alpha"))
        return Done(source, finish.pixels(), look.white, alpha, check.decibels, files)

    def _colour(self) -> str:
        if not self._method.stages:
            return "off"
        if self._params.colour == "auto":
            return "wavelet" if self._method.generative else "off"
        return self._params.colour

    def _matched(self, source: Source, look: Look, check: Consistency) -> Finish:
        """Statistics are those of the whole picture at the input's size, so all is made first."""
        target = self._work.target
        canvas = Canvas(self._file("canvas"), source.channels, target)
        found, reference = Statistics(), Statistics()
        self._stages(source, Both(canvas, Resizing(target, source.size, "bicubic", found)))
        pump(source, reference, self._job.check_cancelled)
        recolour = Matched.between(found, reference)
        finish = Finish(
            source, target, replace(look, recolour=recolour), self._file("result"), check
        )
        pump(canvas, finish, self._job.check_cancelled)
        canvas.remove()
        return finish

    def _stages(self, source: Source, sink: Sink) -> None:
        """Send the picture through all networks and to its size."""
        stages, kind = self._method.stages, self._method.filter
        if not stages:
            resizing = Resizing(source.size, self._work.target, kind, sink)
            pump(source, resizing, self._job.check_cancelled)
            return
        self._meter.passes(self._passes(source, stages))
        origin = self._origin
        for number, stage in enumerate(stages):
            size = (source.size[0] * stage.scale, source.size[1] * stage.scale)
            last = number == len(stages) - 1
            canvas = None if last else Canvas(self._file(f"stage{number}"), source.channels, size)
            into = canvas or Resizing(size, self._work.target, kind, sink)
            self._stage(source, stage, into, origin)
            if isinstance(source, Canvas):
                source.remove()
            if canvas is not None:
                source = canvas
            origin = (origin[0] * stage.scale, origin[1] * stage.scale)

    def _stage(
        self, source: Source, stage: Upscaler | Whole, sink: Sink, origin: tuple[int, int]
    ) -> None:
        wanted, name = self._params.tile, self._work.picture.facts.name
        device = self._job.device
        if isinstance(stage, Whole):
            stage.run(source, sink, Site(self._file, self._meter, device, name, origin))
            return
        if walks(stage, source.size, wanted):
            Walk(
                source, stage, wanted, self._file, self._meter, device, name, origin
            ).run(sink)  # fmt: skip
            return
        Tiler(
            source, stage, self._meter, device=device, name=name, wanted=wanted, origin=origin
        ).run(sink)  # fmt: skip
        self._meter.next_pass()

    def _passes(self, source: Source, stages: Sequence[Upscaler | Whole]) -> list[Pass]:
        found: list[Pass] = []
        size, count = source.size, len(stages)
        for number, stage in enumerate(stages, start=1):
            text = f"network {number} of {count}" if count > 1 else ""
            if isinstance(stage, Whole):
                found += stage.passes(size, source.channels)
            else:
                found += passes(stage, size, source.channels, self._params.tile, text)
            size = (size[0] * stage.scale, size[1] * stage.scale)
        return found

    def _check_room(self) -> None:
        height, width = self._work.target
        channels = self._work.picture.pixels.shape[2]
        sample = self._work.bits // 8
        levels = height * width * sample * (channels + (self._work.picture.alpha is not None))
        bytes_needed = 2 * levels  # as it is made, and as a file
        if self._colour() == "mean":
            bytes_needed += 4 * height * width * channels
        rows, columns = self._work.picture.pixels.shape[:2]
        for number, stage in enumerate(self._method.stages, start=1):
            if isinstance(stage, Whole):
                bytes_needed += stage.room((rows, columns), channels)
            elif walks(stage, (rows, columns), self._params.tile):
                bytes_needed += room(stage, (rows, columns), channels)
            rows, columns = rows * stage.scale, columns * stage.scale
            if number < len(self._method.stages):
                bytes_needed += 4 * rows * columns * channels
        free = shutil.disk_usage(self._job.workspace).free
        if bytes_needed * _SPARE > free:
            raise UserError(
                f"The result of {self._work.picture.facts.name} takes {bytes_needed / 1e9:.1f} GB "
                f"while it is made, and {free / 1e9:.1f} GB are free on this disk; free some space "
                "or choose a smaller scale"
            )

    def _file(self, name: str) -> Path:
        return self._job.workspace / f".{name}.partial"


def _nodata(facts: PictureFacts, most: int) -> int | None:
    """The level of pixels that were not measured, where samples up to `most` can have it."""
    nodata = facts.geo.nodata if facts.geo is not None else None
    return int(nodata) if nodata is not None and nodata in range(most + 1) else None


def _holes(picture: Picture) -> NDArray[np.bool_] | None:
    """Pixels that were not measured, if there are any and others beside them."""
    nodata = _nodata(picture.facts, 2**picture.facts.bits - 1)
    if nodata is None:
        return None
    holes = unmeasured(picture.pixels, nodata)
    return holes if holes.any() and not holes.all() else None


def _white(pixels: Pixels, facts: PictureFacts, full: float) -> float:
    """The level that networks see as 1.

    Measurements in 16 bits, such as reflectances of a satellite, often fill a small part of them
    and would look black to a network that knows photographs.
    """
    if facts.geo is None or full < 65535.0:
        return full
    return max(float(pixels.max()), 1.0)
