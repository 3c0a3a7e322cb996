"""Pictures of any size through a network, tile by tile and without a seam.

Where a network's result depends on a known surrounding, tiles get that as a margin and the result
is that of the whole picture. Where it depends on the whole tile (attention, pooling, norms), tiles
of one size overlap and are blended by raised cosines that add up to one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor

from engines.base import UserError
from engines.superres.meter import Meter
from engines.superres.rows import Sink, Source, strips
from engines.superres.upscaler import Tiling, Upscaler

SMALLEST = 64
_BAND_BYTES = 256 << 20  # of the result, one row of tiles
_SHARE = 0.25  # of the free memory that one tile may take
_BLACK = 1.5 / 255.0  # a tile as dark as this may well come out black
_OUT_OF_MEMORY = re.compile("out of memory|allocate memory", re.IGNORECASE)  # as torch says it


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in pixels of the input.

    Attributes:
        begin: first pixel that the network sees; what lies beyond the picture is mirrored.
        end: the one behind the last.
        keep: the pixels, inside the picture, that the tile gives a result for.
        weights: of the result along the axis, None where tiles do not overlap.
    """

    begin: int
    end: int
    keep: tuple[int, int]
    weights: Tensor | None = None


def plan(size: int, tile: int, tiling: Tiling, scale: int, begin: int = 0) -> list[Span]:
    """Tiles along an axis of `size` pixels.

    Args:
        size: at least 1.
        tile: wanted side; it becomes a multiple of `tiling.multiple`.
        tiling: how the network may be cut.
        scale: its factor.
        begin: pixels that were done before, a multiple of `tiling.multiple`; with a halo only.
    """
    step = tiling.multiple
    if tiling.halo is None:
        return _overlapping(size, _up(tile, step), tiling, scale)
    halo = _up(tiling.halo, step)
    count = math.ceil((size - begin) / tile)
    side = _up(math.ceil((size - begin) / count), step)
    spans: list[Span] = []
    for first in range(begin, size, side):
        last = min(first + side, size)
        spans.append(Span(first - halo, first + _up(last - first, step) + halo, (first, last)))
    return spans


def _overlapping(size: int, tile: int, tiling: Tiling, scale: int) -> list[Span]:
    tile = min(tile, _up(size, tiling.multiple))
    if size <= tile:
        return [Span(0, tile, (0, size))]
    overlap = min(max(tiling.overlap, math.ceil(tile / 8)), tile - 1)
    count = math.ceil((size - overlap) / (tile - overlap))
    begins = [round(number * (size - tile) / (count - 1)) for number in range(count)]
    windows = torch.ones(count, tile * scale, dtype=torch.float64)
    for number in range(count - 1):
        shared = (begins[number] + tile - begins[number + 1]) * scale
        ramp = torch.sin((torch.arange(shared, dtype=torch.float64) + 0.5) / shared * math.pi / 2)
        windows[number + 1, :shared] *= ramp.square()
        windows[number, -shared:] *= ramp.flip(0).square()
    total = torch.zeros(size * scale, dtype=torch.float64)
    for first, window in zip(begins, windows, strict=True):
        total[first * scale : (first + tile) * scale] += window
    return [
        Span(
            first,
            first + tile,
            (first, first + tile),
            (window / total[first * scale : (first + tile) * scale]).to(torch.float32),
        )
        for first, window in zip(begins, windows, strict=True)
    ]


def tile_side(tiling: Tiling, wanted: int, free: int | None = None) -> int:
    """Side of a tile: `wanted`, or what the network likes and the memory allows where that is 0.

    Args:
        tiling: of the network.
        wanted: 0 is automatic.
        free: bytes of memory that are free; None asks the machine.
    """
    if wanted and tiling.halo is not None:
        return wanted
    if tiling.fixed:
        return tiling.tile
    if wanted:
        # What was trained on a size is not asked for a smaller one than the memory demands.
        return max(wanted, SMALLEST)
    if free is None:
        free = int(psutil.virtual_memory().available)
    side = tiling.tile
    margin = 2 * (tiling.halo or 0)
    while side > SMALLEST and (side + margin) ** 2 * tiling.bytes_per_pixel > _SHARE * free:
        side //= 2
    return side


def sides(width: int, channels: int, upscaler: Upscaler, wanted: int) -> tuple[int, int]:
    """Height and width of tiles; less high where a row of them would take too much memory."""
    side = tile_side(upscaler.tiling, wanted)
    if upscaler.tiling.halo is None:
        return side, side
    row = width * channels * upscaler.scale**2 * 4
    return max(min(side, _BAND_BYTES // row), min(side, 16)), side


def count_tiles(size: tuple[int, int], channels: int, upscaler: Upscaler, wanted: int) -> int:
    """How many tiles a picture of (height, width) will have."""
    counts = [
        len(plan(length, side, upscaler.tiling, upscaler.scale))
        for length, side in zip(size, sides(size[1], channels, upscaler, wanted), strict=True)
    ]
    return counts[0] * counts[1]


class Tiler:
    """Sends one picture through one network into a sink, clamped to 0..1 unless it is a state.

    Args:
        source: the picture.
        upscaler: the network.
        meter: counts tiles and stops at them.
        device: torch device of tiles.
        name: of the file, for sentences.
        wanted: side of a tile, 0 for automatic.
        origin: (y, x) of the source's first pixel in the picture that places belong to.
        state: channels of what the network gives, where that is no picture yet (see `stepwise`);
            the source then has three.
    """

    def __init__(
        self,
        source: Source,
        upscaler: Upscaler,
        meter: Meter,
        *,
        device: str,
        name: str,
        wanted: int = 0,
        origin: tuple[int, int] = (0, 0),
        state: int = 0,
    ) -> None:
        self._channels, self._bounded = state or source.channels, not state
        self._source, self._upscaler, self._meter = source, upscaler, meter
        self._device, self._name, self._origin = device, name, origin
        self._high, self._wide = sides(source.size[1], source.channels, upscaler, wanted)
        self._groups = channel_groups(source.channels)
        self._done = 0  # rows of the input whose result was handed on

    @torch.no_grad()
    def run(self, sink: Sink) -> None:
        """Enlarge everything.

        Raises:
            UserError: the network gives no numbers, or the memory is too small.
            Cancelled: passed through.
        """
        while self._done < self._source.size[0]:
            try:
                self._pass(sink)
            except (RuntimeError, MemoryError) as error:
                small = isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error))
                whole = self._upscaler.tiling.halo is None and self._done > 0
                if not small or whole or max(self._high, self._wide) <= SMALLEST:
                    raise
                self._high, self._wide = (max(side // 2, 16) for side in (self._high, self._wide))
        sink.close()

    def _pass(self, sink: Sink) -> None:
        """All rows of tiles that are left."""
        tiling, scale = self._upscaler.tiling, self._upscaler.scale
        height, width = self._source.size
        rows = plan(height, self._high, tiling, scale, self._done)
        columns = plan(width, self._wide, tiling, scale)
        self._meter.replan(len(rows) * len(columns))
        left: Tensor | None = None  # what the last row of tiles shares with the next
        for number, row in enumerate(rows):
            high = (row.keep[1] - row.keep[0]) * scale
            # Tiles with a halo cover it once; others are added up.
            shape = (self._channels, high, width * scale)
            band = torch.zeros(shape) if tiling.halo is None else torch.empty(shape)
            if left is not None and left.shape[1]:
                band[:, : left.shape[1]] = left
            for column in columns:
                self._meter.check()
                self._add(band, row, column)
                self._meter.tile()
            following = rows[number + 1].keep[0] if number + 1 < len(rows) else height
            ready = (following - row.keep[0]) * scale
            for top, bottom in strips(0, ready, width * scale * self._channels):
                part = band[:, top:bottom]
                sink.take(part.clamp(0.0, 1.0) if self._bounded else part)
            left = band[:, ready:].clone()
            self._done = following

    def _add(self, band: Tensor, row: Span, column: Span) -> None:
        scale = self._upscaler.scale
        region = window(self._source, row.begin, row.end, column.begin, column.end)
        result = self._enlarged(region, (row.begin, column.begin))
        top, left = row.keep[0] - row.begin, column.keep[0] - column.begin
        high, wide = row.keep[1] - row.keep[0], column.keep[1] - column.keep[0]
        result = result[:, top * scale : (top + high) * scale, left * scale : (left + wide) * scale]
        if row.weights is not None:
            result = result * row.weights[:, None]
        if column.weights is not None:
            result = result * column.weights
        part = band[:, :, column.keep[0] * scale : column.keep[1] * scale]
        if self._upscaler.tiling.halo is None:
            part += result
        else:
            part.copy_(result)

    def _enlarged(self, region: Tensor, at: tuple[int, int]) -> Tensor:
        """All channels of a tile, by groups of three; channels in several are averaged."""
        place = (at[0] + self._origin[0], at[1] + self._origin[1])
        total: Tensor | None = None
        times = [0] * len(region)
        for group in self._groups:
            lr = region[list(group)][None].to(self._device)
            result = self._upscaler.upscale(lr, place)
            if not _sound(result, lr):
                result = self._upscaler.upscale(lr, place, full=True)
                if not _sound(result, lr):
                    raise UserError(
                        f"The network gave no usable numbers for {self._name}; choose another model"
                    )
            result = result[0].to("cpu", torch.float32)
            if len(region) == 3:
                return result
            if total is None:
                total = torch.zeros(len(region), *result.shape[1:])
            for position, channel in enumerate(group):
                total[channel] += result[position]
                times[channel] += 1
        assert total is not None
        return total / torch.tensor(times).reshape(-1, 1, 1)


def channel_groups(channels: int) -> list[tuple[int, int, int]]:
    """Channels in threes, as networks take them; the last group repeats its last channel."""
    return [
        (first, min(first + 1, channels - 1), min(first + 2, channels - 1))
        for first in range(0, channels, 3)
    ]


def window(source: Source, top: int, bottom: int, left: int, right: int) -> Tensor:
    """A part of a picture, mirrored about its outermost pixels where it goes beyond.

    Returns:
        (channels, bottom - top, right - left) float32 on the CPU.
    """
    rows, columns = _mirrored(top, bottom, source.size[0]), _mirrored(left, right, source.size[1])
    y0, y1 = int(rows.min()), int(rows.max()) + 1
    x0, x1 = int(columns.min()), int(columns.max()) + 1
    part = source.window(y0, y1, x0, x1)
    return part[:, rows - y0][:, :, columns - x0]


def _mirrored(begin: int, end: int, size: int) -> Tensor:
    period = max(2 * size - 2, 1)
    places = torch.arange(begin, end) % period
    return torch.minimum(places, period - places) if size > 1 else torch.zeros_like(places)


def _sound(result: Tensor, lr: Tensor) -> bool:
    total = float(result.sum())  # of no number, or of infinity, there is no finite sum
    if not math.isfinite(total):
        return False
    return total != 0.0 or bool(result.any()) or float(lr.max()) <= _BLACK


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
