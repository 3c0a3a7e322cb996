"""The signal-independent noise of one ISO setting, from its dark frames.

The frames are read twice, one at a time: first for their mean (what stays from frame to frame), the
means of their rows and the differences of neighbours in time, then for the shape of what is left.
Memory is that of a few frames, however many there are.

With two frames or more the random part comes from differences, in which everything fixed cancels;
with one alone the fixed pattern is counted as noise, and the result says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.raw.calibrate.shape import Counts, Law, fit
from engines.raw.noise import tukey
from engines.raw.noise.profile import MOST_HOT
from kernels.bayer import site_order

Floats = NDArray[np.float32]
Array = NDArray[np.float64]

_ROUNDING = 1.0 / 12.0
_FINE = 1.0  # DN; less noise than this does not make rounding an independent noise
_HOT = 6.0  # deviations of the mean frame
# Noises that a hot photosite lies above in every frame, by how many there are: tails are heavy,
# and of 24 million photosites none may do so by chance.
_HOT_EACH = {2: 6.0, 3: 4.5}
_HOT_OF_MORE = 3.5
_STRIP = 256
_REACH = 25.0  # noises that are counted one by one
_PIXELS = 48_000_000  # of one setting that are counted for the shape
_PATTERN = 0.02  # of the noise's variance: a fixed pattern above it is taken off first
_SMOOTH = 31  # rows
_SHADE = 16  # blocks a side of the smooth part of the mean frame
_HELD = 4  # every so many pairs of rows are kept out, where that is asked for


class Desk(Protocol):
    """Where work is done: what of a job is needed here."""

    @property
    def workspace(self) -> Path:
        """A folder for what is unpacked."""
        ...

    def check_cancelled(self) -> None:
        """Raises to stop the work."""
        ...


class Dark(Protocol):
    """A dark frame."""

    @property
    def name(self) -> str:
        """Name for people."""
        ...

    @property
    def black(self) -> tuple[float, ...]:
        """Black level of the cell's four sites, DN."""
        ...

    @property
    def cfa(self) -> str:
        """Colours of the first two rows."""
        ...

    def mosaic(self, workspace: Path) -> NDArray[np.uint16]:
        """(H, W) levels."""
        ...


@dataclass(frozen=True)
class DarkNoise:
    """What the dark frames of one setting say, DN.

    Attributes:
        frames: how many there were.
        bias: mean above black at R, G, G, B.
        sigma: standard deviation of a pixel's noise, without rows and rounding.
        sigma_row: standard deviation of rows' offsets.
        pattern: standard deviation of what stays the same from frame to frame; None for one frame.
        hot: (n, 2) row and column of lit photosites.
        law: Tukey's lambda law of the pixel noise.
        rows: offsets of all rows of all frames.
        shade: (4, 16, 16) mean above black in blocks of the R, G, G and B planes.
        counts: what the law was fitted to.
        held: counts of the rows that were kept out, where that was asked for.
    """

    frames: int
    bias: tuple[float, float, float, float]
    sigma: float
    sigma_row: float
    pattern: float | None
    hot: NDArray[np.int64]
    law: Law
    rows: Array
    shade: Array
    counts: Counts
    held: Counts | None = None


@dataclass
class _Seen:
    """Sums over the frames."""

    total: Floats
    least: NDArray[np.uint16]
    rows: list[Array] = field(default_factory=list[Array])
    squares: list[float] = field(default_factory=list[float])


def measure_darks(
    frames: Sequence[Dark], job: Desk, step: Callable[[str], None], *, hold: bool = False
) -> DarkNoise:
    """Measure one setting.

    Args:
        frames: dark frames of one camera, ISO and exposure.
        job: for reading and cancelling.
        step: told what goes on, before each reading of a frame.
        hold: keep a quarter of the rows out of the law, for judging it.

    Raises:
        UserError: a frame can no longer be read.
        Cancelled: passed through.
    """
    seen = _first_look(frames, job, step)
    count = len(frames)
    mean = seen.total / np.float32(count)
    black = np.asarray(frames[0].black, dtype=np.float64)
    bias = np.array([_middle(mean[s // 2 :: 2, s % 2 :: 2]) - black[s] for s in range(4)])
    height, width = mean.shape
    base = _tiled(black + bias, height, width)
    order = site_order(frames[0].cfa)
    shade = np.stack([_blocks(mean[s // 2 :: 2, s % 2 :: 2]) - black[s] for s in order])
    mean -= base
    offsets = np.stack(seen.rows) - _row_levels(black + bias, width)[np.arange(height) % 2]
    fixed_rows = offsets.mean(axis=0)
    if count > 1:
        variance = max(float(np.mean(seen.squares)) - _ROUNDING, 1e-4)
        rows = (offsets - fixed_rows) * math.sqrt(count / (count - 1))
    else:
        rows = offsets - _smooth(offsets[0])[None]
        residual = mean - np.float32(1.0) * mean.mean(axis=1, keepdims=True)
        spread = float(np.median(np.abs(residual))) / 0.6745
        kept = residual[np.abs(residual) < 8.0 * spread + 2.0]
        variance = max(float(kept.var()) - _ROUNDING, 1e-4)
    sigma = math.sqrt(variance)
    row_variance = float(rows.var()) - (variance + _ROUNDING) / width
    mean -= fixed_rows.astype(np.float32)[:, None]
    hot = _hot(mean, seen.least - base, sigma, count)
    pattern = _pattern(mean, hot, variance, count) if count > 1 else None
    counts, held = _counted(frames, base, mean, hot, pattern, sigma, job, step, hold=hold)
    a, b, c, d = (float(bias[site]) for site in order)
    law = fit(counts, sigma)
    if sigma < _FINE and law.lam is not None and law.scale is not None:
        sigma = law.scale * tukey.spread(law.lam)  # rounding adds no constant variance any more
    return DarkNoise(
        count, (a, b, c, d), sigma, math.sqrt(max(row_variance, 0.0)),
        None if pattern is None else math.sqrt(pattern), hot, law, rows.reshape(-1), shade, counts,
        held,
    )  # fmt: skip


def _first_look(frames: Sequence[Dark], job: Desk, step: Callable[[str], None]) -> _Seen:
    seen: _Seen | None = None
    before: NDArray[np.uint16] | None = None
    for frame in frames:
        step(f"reading {frame.name}")
        mosaic = frame.mosaic(job.workspace)
        if seen is None:
            seen = _Seen(
                np.zeros(mosaic.shape, np.float32), np.full(mosaic.shape, 65535, np.uint16)
            )
        np.minimum(seen.least, mosaic, out=seen.least)
        seen.rows.append(mosaic.mean(axis=1, dtype=np.float64))
        for top in range(0, len(mosaic), _STRIP):
            job.check_cancelled()
            seen.total[top : top + _STRIP] += mosaic[top : top + _STRIP]
        if before is not None:
            seen.squares.append(_half_variance(mosaic, before, job))
        before = mosaic
    assert seen is not None
    return seen


def _half_variance(one: NDArray[np.uint16], other: NDArray[np.uint16], job: Desk) -> float:
    """Half the variance of the difference of two frames, rows' offsets taken out."""
    total, count = 0.0, 0
    width = one.shape[1]
    for top in range(0, len(one), _STRIP):
        job.check_cancelled()
        a, b = (part[top : top + _STRIP].astype(np.float32) for part in (one, other))
        a -= b
        a -= a.mean(axis=1, keepdims=True)
        total += float(np.einsum("ij,ij->", a, a, dtype=np.float64))
        count += a.size
    return 0.5 * total / count * width / (width - 1)


def _counted(
    frames: Sequence[Dark],
    base: Floats,
    mean: Floats,
    hot: NDArray[np.int64],
    pattern: float | None,
    sigma: float,
    job: Desk,
    step: Callable[[str], None],
    *,
    hold: bool,
) -> tuple[Counts, Counts | None]:
    """Whole numbers over their expected levels, hot photosites left out; and those kept out.

    A fixed pattern that matters is part of the expectation, as far as the mean frame is sure of it.
    """
    count = len(frames)
    share = 0.0
    if pattern is not None and pattern > _PATTERN * sigma**2:
        share = pattern / (pattern + sigma**2 / count)
    reach = min(int(_REACH * sigma) + 4, 6000)
    counts, held = Counts(reach), Counts(reach) if hold else None
    lit = np.zeros(mean.shape, dtype=bool)
    lit[tuple(hot.T)] = True
    every = max(1, math.ceil(mean.size * count / _PIXELS))
    for frame in frames:
        step(f"shape of the noise, {frame.name}")
        mosaic = frame.mosaic(job.workspace)
        for top in range(0, len(mosaic), _STRIP):
            job.check_cancelled()
            part = slice(top, top + _STRIP, every)
            values = mosaic[part]
            expected = base[part] + np.float32(share) * mean[part]
            expected = expected + (values - expected).mean(axis=1, keepdims=True)
            sound = ~lit[part]
            if held is not None:
                out = np.arange(top, min(top + _STRIP, len(mosaic)), every) // 2 % _HELD == 0
                kept = sound & out[:, None]
                held.add(values[kept], expected[kept])
                sound &= ~out[:, None]
            counts.add(values[sound], expected[sound])
    return counts, held


def _middle(values: Floats) -> float:
    """Mean without what lies far out, such as hot photosites."""
    centre = float(np.median(values))
    spread = float(np.median(np.abs(values - centre))) / 0.6745
    return float(values[np.abs(values - centre) <= 8.0 * spread + 1.0].mean(dtype=np.float64))


def _blocks(plane: Floats) -> Array:
    """(16, 16) means of blocks, without what lies far out."""
    height, width = (size // _SHADE for size in plane.shape)
    cut = plane[: height * _SHADE, : width * _SHADE]
    blocks = cut.reshape(_SHADE, height, _SHADE, width).swapaxes(1, 2)
    middle = np.median(blocks.reshape(_SHADE, _SHADE, -1), axis=2)
    spread = np.median(np.abs(plane - np.median(plane))) / 0.6745
    near = np.clip(blocks, (middle - 8 * spread - 1)[..., None, None],
                   (middle + 8 * spread + 1)[..., None, None])  # fmt: skip
    return near.mean(axis=(2, 3), dtype=np.float64)


def _tiled(cell: Array, height: int, width: int) -> Floats:
    square = cell.reshape(2, 2).astype(np.float32)
    return np.tile(square, (-(-height // 2), -(-width // 2)))[:height, :width]


def _row_levels(cell: Array, width: int) -> Array:
    """Expected mean of even and odd rows; an odd width has one more of the first site."""
    even = -(-width // 2)
    square = cell.reshape(2, 2)
    return (square[:, 0] * even + square[:, 1] * (width - even)) / width


def _smooth(rows: Array) -> Array:
    """Running mean over rows, mirrored at the ends."""
    half = min(_SMOOTH // 2, len(rows) - 1)
    padded = np.pad(rows, half, mode="reflect")
    return np.convolve(padded, np.ones(2 * half + 1) / (2 * half + 1), mode="valid")


def _hot(mean: Floats, least: Floats, sigma: float, count: int) -> NDArray[np.int64]:
    """Photosites that stand out of the mean frame, and do so in every frame."""
    spread = float(np.median(np.abs(mean - np.median(mean)))) / 0.6745
    outside = mean > _HOT * max(spread, sigma / math.sqrt(count), 0.3)
    if count > 1:
        outside &= least > _HOT_EACH.get(count, _HOT_OF_MORE) * sigma
    else:
        outside &= mean > 2.0 * _HOT * sigma
    places = np.argwhere(outside)
    brightest = np.argsort(-mean[outside], kind="stable")[:MOST_HOT]
    return places[np.sort(brightest)]


def _pattern(mean: Floats, hot: NDArray[np.int64], variance: float, count: int) -> float:
    """Variance of what stays the same, DN²; rows and hot photosites left out."""
    kept = mean.copy()
    kept[tuple(hot.T)] = 0.0
    np.clip(kept, -8.0 * math.sqrt(variance), 8.0 * math.sqrt(variance), out=kept)
    whole = float(np.einsum("ij,ij->", kept, kept, dtype=np.float64)) / kept.size
    rounding = _ROUNDING / count
    left = whole - variance / count - rounding
    # What chance alone would leave over is no pattern.
    return left if left > 4.0 * whole * math.sqrt(2.0 / kept.size) else 0.0
