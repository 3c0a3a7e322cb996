"""Dark frames taken apart: what the proxies of each part are to learn.

Measuring is calibration's (`engines.raw.calibrate.darks`). Rounded levels become continuous as in
the paper: within each step they are spread as the fitted law says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from engines.base import UserError
from engines.media.raw_file import RAW_SUFFIXES
from engines.raw.calibrate.darks import Dark, DarkNoise, measure_darks
from engines.raw.calibrate.flats import Flat
from engines.raw.calibrate.frames import Frame, sources, survey
from engines.raw.calibrate.sorting import sort
from engines.raw.noise.model import levels, signal_independent
from engines.raw.noise.profile import CameraProfile
from engines.raw.noise.sensor import SensorNoise

Array = NDArray[np.float64]

_NODES = 801
_FAR = 4.2  # standard normal
_LEAST_FRAMES = 2
_SHAPED = 0.3  # DN; rounding hides the law of less noise
_MADE = (768, 1024)
_MADE_FRAMES = 4


@dataclass(frozen=True)
class Setting:
    """One ISO of one camera.

    Attributes:
        iso: the setting.
        dark: everything that was measured.
        quantiles: (n,) of the pixel noise, in units of its deviation, at `Learned.grid`.
        rows: (n,) likewise of the rows' offsets.
    """

    iso: float
    dark: DarkNoise
    quantiles: Array
    rows: Array


@dataclass(frozen=True)
class Learned:
    """What dark frames say.

    Attributes:
        model, bits, span: of the camera; span is white minus black, DN.
        grid: (n,) standard normal values.
        settings: in the order of their ISO.
        notes: sentences for the person.
    """

    model: str
    bits: int
    span: float
    grid: Array
    settings: tuple[Setting, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Made:
    name: str
    black: tuple[float, ...]
    span: float
    cfa: str
    levels: NDArray[np.uint16]

    def mosaic(self, workspace: Path) -> NDArray[np.uint16]:
        """See `Dark`."""
        return self.levels


class _Quiet:
    """A desk where nobody asks for anything."""

    device = "cpu"

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace

    def check_cancelled(self) -> None:
        """Training is stopped by the loop."""


def of_folder(folder: Path, workspace: Path) -> Learned:
    """What the dark frames of a folder (its folders and zips too) say.

    Raises:
        UserError: there are no two dark frames of one ISO in it.
    """
    desk = _Quiet(workspace)
    files = sorted(
        file
        for file in (folder.rglob("*") if folder.is_dir() else [folder])
        if file.is_file() and file.suffix.lower() in (*RAW_SUFFIXES, ".zip")
    )
    looked = [survey(source, desk) for source in sources(files)]
    groups = sort([one for one in looked if isinstance(one, Frame)])
    darks = {iso: group for iso, group in groups.darks.items() if len(group) >= _LEAST_FRAMES}
    if not darks:
        raise UserError(
            f"{folder.name} holds no two dark frames of one ISO; take four or more at each of "
            "three ISO settings, with the cap on"
        )
    first = next(iter(darks.values()))[0]
    return of_darks(first.model, first.bits, first.span, darks, desk)


def made(profile: CameraProfile, seed: int) -> Learned:
    """What dark frames drawn by the ELD model for a profile say; for where there are none."""
    desk = _Quiet(Path())
    darks: dict[float, Sequence[Dark]] = {}
    for number, one in enumerate(profile.iso):
        noise = SensorNoise.of(one)
        random = np.random.default_rng((seed, number))
        darks[one.iso] = list(made_frames(noise, random, profile.bl, profile.wl))
    return of_darks(profile.model, profile.bits, profile.span, darks, desk)


def made_frames(
    noise: SensorNoise, random: np.random.Generator, black: float, white: float
) -> Iterator[Dark]:
    """Dark frames drawn by the ELD model."""
    for number in range(_MADE_FRAMES):
        signal = signal_independent(noise, _MADE, "RGGB", random)
        yield made_frame(f"made {number}", signal, black, white)


def made_frame(name: str, signal: NDArray[np.float32], black: float, white: float) -> Flat:
    """A frame of that signal above black, DN, RGGB."""
    made = levels(signal, np.full((1, 1), black, np.float32), white)
    return _Made(name, (black, black, black, black), white - black, "RGGB", made)


def of_darks(
    model: str,
    bits: int,
    span: float,
    darks: Mapping[float, Sequence[Dark]],
    desk: _Quiet | None = None,
) -> Learned:
    """What dark frames by ISO say.

    Args:
        model: of the camera.
        bits: of its samples.
        span: white minus black, DN.
        darks: frames of one exposure for each ISO.
        desk: where they are read.

    Raises:
        UserError: there is less noise than one step everywhere.
    """
    desk = desk or _Quiet(Path())
    grid = np.linspace(-_FAR, _FAR, _NODES)
    settings: list[Setting] = []
    notes: list[str] = []
    for iso, group in darks.items():
        dark = measure_darks(group, desk, lambda text: None, hold=True)
        if dark.sigma < _SHAPED or dark.law.lam is None or dark.law.scale is None:
            notes.append(f"ISO {iso:.0f} has too little noise for its shape to be learned")
            continue
        settings.append(Setting(iso, dark, _pixels(dark, grid), _rows(dark, grid)))
    if not settings:
        raise UserError("These dark frames have less noise than one step; take higher ISOs too")
    return Learned(model, bits, span, grid, tuple(settings), tuple(notes))


def _pixels(dark: DarkNoise, grid: Array) -> Array:
    """Quantiles as far out as there are pixels for, and along the fitted law beyond."""
    lam, scale = dark.law.lam or 0.0, dark.law.scale or dark.sigma
    end = min(_FAR, -float(ndtri(10.0 / dark.counts.total)))
    found = dark.counts.quantiles(ndtr(np.clip(grid, -end, end)), lam, scale)
    steepest = np.gradient(found, grid)
    inner = np.abs(grid) <= end
    edge = float(np.mean(steepest[inner][[1, -2]]))
    found = np.where(inner, found, found + np.sign(grid) * (np.abs(grid) - end) * edge)
    return np.maximum.accumulate(found) / dark.sigma


def _rows(dark: DarkNoise, grid: Array) -> Array:
    """Of the rows, without what the mean of their pixels adds by chance.

    A few thousand rows show no tails, and their means are nearly Gaussian by the law of large
    numbers: the measured quantiles are drawn in to the deviation that is the rows' own.
    """
    values = np.sort(dark.rows - dark.rows.mean())
    p = (np.arange(values.size) + 0.5) / values.size
    inner = np.clip(grid, float(ndtri(p[0])), float(ndtri(p[-1])))
    found = np.interp(ndtr(inner), p, values) / max(float(values.std()), 1e-9)
    return found + (grid - inner)


def deviation(value: float) -> float:
    """A logarithm that is finite for no noise at all."""
    return math.log(max(value, 1e-6))
