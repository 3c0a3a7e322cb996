"""What is known of a file's noise before it is measured, and whether the picture bears it out.

Three things can know it: the person's own calibration of the camera, the NoiseProfile of a DNG, and
a published camera's profile. What texture adds to a measurement is in none of them, so where one
agrees with the picture it is the better of the two; where the picture has clearly less noise
(noise reduction in the camera), or surely more (another readout), the picture is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from engines.base import Job, UserError
from engines.media.raw_covered import Covered, read_covered
from engines.media.raw_file import RawFacts
from engines.raw.noise.choose import by_name, fitting
from engines.raw.noise.estimate import NoiseEstimate, estimate_self
from engines.raw.noise.profile import AUTO, NONE, Named
from engines.raw.noise.rows import WORTH, row_offsets, take_off
from engines.raw.noise.sensor import NO_BIAS, SensorNoise
from engines.raw.yond.params import CleanParams

_ROUNDING = 1.0 / 12.0
_LESS, _MORE = 1 / 1.3, 1.3  # measured over known variance, within which they agree
_SURE = 0.75  # confidence at which a measurement of more noise is believed
_LIT = 3.0  # noises above its neighbours at which a photosite known to be hot is taken for lit


@dataclass(frozen=True)
class Known:
    """Noise of a file as something says it.

    Attributes:
        gain, sigma: K and read noise without rows, DN of the file.
        sigma_row: DN, 0 where nothing is known of rows.
        bias: of the planes R, G, G, B, DN.
        hot: row and column of the visible area.
        source: what says so, for a sentence.
    """

    gain: float
    sigma: float
    sigma_row: float
    bias: tuple[float, float, float, float]
    hot: tuple[tuple[int, int], ...]
    source: str

    def total(self, rows: float = 0.0) -> float:
        """Read noise to reckon with, DN; `rows` is the deviation of the row noise taken off."""
        left = 0.0 if rows > 0.0 else self.sigma_row
        return math.sqrt(self.sigma**2 + left**2 + _ROUNDING)


@dataclass(frozen=True)
class Prepared:
    """What was done before the denoising.

    Attributes:
        params: those of the person, with K and sigma where they are known.
        rows: deviation of the row offsets that were taken off, DN; 0 where none were.
        hot: lit photosites that were replaced.
        notes: sentences for the person.
    """

    params: CleanParams
    rows: float
    hot: int
    notes: tuple[str, ...]


def prepare(
    planes: Tensor, scale: float, clip: float, facts: RawFacts, path: Path | None,
    params: CleanParams, job: Job,
) -> Prepared:  # fmt: skip
    """Take off what is known to be there, in place, and say what noise to reckon with.

    Args:
        planes: (4, h, w) float32, 0 at black and 1 at white.
        scale: white minus black in DN.
        clip: where the sensor clips, in the units of `planes`.
        facts: of the file.
        path: the file, for its covered columns; None where it is no longer at hand.
        params: of the person.
        job: knows the person's cameras.

    Raises:
        UserError: the profile that was asked for is not there, or says nothing of this ISO.
    """
    if params.profile == NONE or params.strength == 0.0:
        return Prepared(params, 0.0, 0, ())
    known, measured, notes = _best(
        facts, scale, params, job, lambda: estimate_self(planes, scale, clip)
    )
    covered = read_covered(path, float(np.mean(facts.black)), facts.white) if path else None
    if known is None and covered is None:
        return Prepared(params, 0.0, 0, tuple(notes))
    hot = 0
    if known is not None:
        hot = _take_hot(planes, known, scale, facts) if params.hot_pixels else 0
        for plane, bias in zip(planes, known.bias, strict=True):
            plane -= bias / scale
        notes.append(f"The noise was taken from {known.source}")
    rows = take_rows(planes, scale, clip, known, covered, measured)
    if rows > 0.0:
        where = "covered columns" if covered is not None and _shows(covered) else "profile"
        notes.append(f"Row noise of {rows:.2g} DN was taken off first, as the {where} shows it")
    if known is not None and params.K is None:
        params = params.model_copy(update={"K": known.gain, "sigma": known.total(rows)})
    return Prepared(params, rows, hot, tuple(notes))


def told(
    facts: RawFacts,
    scale: float,
    params: CleanParams,
    job: Job,
    measure: Callable[[], NoiseEstimate],
) -> tuple[CleanParams, tuple[str, ...]]:
    """For what is no Bayer mosaic: parameters with K and sigma where they are known, and sentences.

    Args:
        facts: of the file.
        scale: white minus black in DN.
        params: of the person.
        job: knows the person's cameras.
        measure: the coarse estimate; called only where there is something to compare it with.

    Raises:
        UserError: as `prepare`.
    """
    if params.profile == NONE or params.strength == 0.0:
        return params, ()
    known, _, notes = _best(facts, scale, params, job, measure)
    if known is None:
        return params, tuple(notes)
    notes.append(f"The noise was taken from {known.source}")
    if params.K is None:
        params = params.model_copy(update={"K": known.gain, "sigma": known.total()})
    return params, tuple(notes)


def _best(
    facts: RawFacts,
    scale: float,
    params: CleanParams,
    job: Job,
    measure: Callable[[], NoiseEstimate],
) -> tuple[Known | None, NoiseEstimate | None, list[str]]:
    """What knows the noise best and is borne out, the measurement if one was made, sentences."""
    if params.profile != AUTO:
        return _of_profile(by_name(params.profile, job), facts, scale), None, []
    notes: list[str] = []
    measured: NoiseEstimate | None = None
    for one in _candidates(facts, scale, job):
        measured = measured or measure()
        share = agreement(measured, one)
        if share > _LESS and (share < _MORE or measured.confidence < _SURE):
            return one, measured, notes
        word = "less" if share <= _LESS else "more"
        notes.append(
            f"{one.source[0].upper()}{one.source[1:]} was set aside: the picture has {word} "
            "noise than it says"
        )
    return None, measured, notes


def agreement(measured: NoiseEstimate, known: Known) -> float:
    """Measured over known variance of the even places of the picture; 1 where they agree."""
    flat = measured.flat
    if float(flat.sum()) < 1.0:
        return 1.0
    line = known.gain * np.maximum(measured.means, 0.0) + known.total() ** 2
    return float((flat * measured.variance(measured.means) / line).sum() / flat.sum())


def _candidates(facts: RawFacts, scale: float, job: Job) -> list[Known]:
    """What knows the noise of this file, the surest first."""
    found: list[Known] = []
    named = fitting(facts, job)
    if named is not None and facts.iso is not None:
        with suppress(UserError):  # it says nothing of K, or of the dark
            found.append(_of_profile(named, facts, scale))
    told = _of_tag(facts, scale)
    if told is not None:
        found.insert(0 if named is None or named.shipped else 1, told)
    return found


def _of_profile(named: Named, facts: RawFacts, scale: float) -> Known:
    if facts.iso is None:
        raise UserError("This file does not say its ISO, so no camera profile can be used on it")
    noise = SensorNoise.of(named.profile.at(facts.iso), named.name)
    noise = noise.times(scale / named.profile.span)
    own = not named.shipped  # defects and offsets are one body's
    return Known(
        noise.K, noise.deviation, noise.sigma_row, noise.bias if own else NO_BIAS,
        named.profile.hot if own else (),
        f"the camera profile {named.name} at ISO {facts.iso:.0f}",
    )  # fmt: skip


def _of_tag(facts: RawFacts, scale: float) -> Known | None:
    """DNG's NoiseProfile: variance = S x + O with x from 0 to 1; mean of its planes."""
    pairs = facts.noise_profile
    if len(pairs) < 2 or len(pairs) % 2:
        return None
    slope, floor = float(np.mean(pairs[0::2])), float(np.mean(pairs[1::2]))
    if not (slope > 0.0 and floor >= 0.0 and math.isfinite(slope + floor)):
        return None
    variance = max(floor * scale**2 - _ROUNDING, 1e-4)
    return Known(
        slope * scale, math.sqrt(variance), 0.0, NO_BIAS, (), "the file's own NoiseProfile"
    )


def _shows(covered: Covered) -> bool:
    return covered.sigma_row > WORTH * covered.deviation


def take_rows(
    planes: Tensor,
    scale: float,
    clip: float,
    known: Known | None,
    covered: Covered | None = None,
    measured: NoiseEstimate | None = None,
) -> float:
    """Take rows' offsets off, in place, where they are strong; deviation of what was taken, DN."""
    sigma_row = known.sigma_row if known is not None else 0.0
    beside = None
    # The means of covered columns are of the mosaic's rows; an odd first row is not reflected in.
    if covered is not None and _shows(covered) and covered.means.size == 2 * planes.shape[1]:
        sigma_row = sigma_row or covered.sigma_row
        halves = np.stack([covered.means[0::2], covered.means[1::2]])
        halves = halves - np.median(halves, axis=1, keepdims=True)
        beside = halves, covered.deviation / math.sqrt(covered.columns)
    if known is not None:
        gain, sigma = known.gain, known.sigma
    elif beside is not None:
        measured = measured or estimate_self(planes, scale, clip)
        gain, sigma = measured.K, measured.sigma
    else:
        return 0.0
    middle = max(float(planes[1, ::4, ::4].median()), 0.0) * scale
    if sigma_row < WORTH * math.sqrt(gain * middle + sigma**2):
        return 0.0
    offsets = row_offsets(planes, gain, sigma, sigma_row, scale, beside)
    take_off(planes, offsets, scale, clip)
    return float(offsets.std())


def _take_hot(planes: Tensor, known: Known, scale: float, facts: RawFacts) -> int:
    """Replace photosites that calibration found lit, where they are lit here too."""
    front = {"RGGB": (0, 0), "GRBG": (0, 1), "GBRG": (1, 0), "BGGR": (1, 1)}[facts.cfa]
    height, width = planes.shape[1:]
    count = 0
    for row, column in known.hot:
        if row >= facts.height or column >= facts.width:
            continue
        y, x = row + front[0], column + front[1]
        plane, at = planes[2 * (y % 2) + x % 2], (y // 2, x // 2)
        around = [
            float(plane[min(max(at[0] + dy, 0), height - 1), min(max(at[1] + dx, 0), width - 1)])
            for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx
        ]  # fmt: skip
        middle = float(np.median(around))
        noise = math.sqrt(known.gain * max(middle, 0.0) * scale + known.sigma**2) / scale
        if float(plane[at]) > middle + _LIT * noise:
            plane[at] = middle
            count += 1
    return count
