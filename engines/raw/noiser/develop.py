"""A RAW file as rows of linear light: denoised by YOND if wanted, then developed by LibRaw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.base import Figure, Job, Measurement, UserError
from engines.media.develop import develop, srgb_profile
from engines.media.dng import DngExtras, precision_gain, write_developable
from engines.media.exif import exif_block
from engines.media.picture_facts import PictureFacts
from engines.media.raw_facts import RawFacts, RawImage
from engines.media.raw_file import read_raw
from engines.raw.noise.figure import draw_noise_figure
from engines.raw.noiser.rows import LIFTED, DevelopedRows
from engines.raw.share import Share
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.params import YondParams
from engines.raw.yond.process import clean_levels
from engines.weights import LoadedModel

_ROWS = 256


@dataclass(frozen=True)
class Developed:
    """A RAW that was developed, and what was found on the way."""

    rows: DevelopedRows
    facts: PictureFacts
    measurements: dict[str, Measurement]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]
    models: dict[str, str]


def developed(path: Path, denoiser: str, job: Job) -> Developed:
    """Read, denoise and develop; progress from 0 to 70.

    Args:
        path: the RAW.
        denoiser: id of YOND's weights; "" leaves the noise.
        job: of the studio.

    Raises:
        UserError: the file or the weights cannot be used.
        Cancelled: passed through.
    """
    job.progress(0, 100, "reading the RAW")
    raw = read_raw(path)
    job.check_cancelled()
    facts = raw.facts
    gain = precision_gain(facts.white)
    measurements: dict[str, Measurement] = {}
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    models: dict[str, str] = {}
    if denoiser:
        model: LoadedModel = job.load(denoiser)
        if not isinstance(model.network, GuidedResUnet):
            raise UserError(f"The weights {denoiser} are of another network; choose others")
        part: Job = Share(job, 0.0, 55.0)  # type: ignore[assignment]
        levels, found, _ = clean_levels(
            raw, model.network, YondParams(weights=denoiser), part, path
        )
        mosaic = _dithered(levels, facts.white, gain)
        last = found.last
        measurements = {"K": Measurement(last.K, "DN/e-"), "sigma": Measurement(last.sigma, "DN")}
        second = last if found.passes == 2 else None
        figures = (draw_noise_figure(job.workspace / "noise.png", found.first, second),)
        notes, models = found.notes, {model.file.id: model.file.sha256}
    else:
        mosaic = raw.mosaic * np.uint16(gain)
    shot, lifted = _twice(path, mosaic, raw, gain, job)
    height, width = shot.shape[:2]
    picture = PictureFacts(
        name=path.name, format="tiff", width=width, height=height, bits=16, icc=srgb_profile(),
        exif=exif_block(facts.exif, width, height).removeprefix(b"Exif\0\0"),
    )  # fmt: skip
    return Developed(
        DevelopedRows(shot, lifted), picture, measurements, figures, notes + _frames(facts), models
    )


def _twice(
    path: Path, mosaic: NDArray[np.uint16], raw: RawImage, gain: int, job: Job
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """As shot, and `LIFTED` EV brighter."""
    job.progress(55, 100, "developing")
    between = job.workspace / ".mosaic.dng"
    preview = np.zeros((16, 16, 3), np.uint8)
    try:
        write_developable(between, mosaic, raw.facts, path, DngExtras({}, preview, 0.0, (), gain))
        job.check_cancelled()
        shot = develop(between, raw.facts, gain, 0.0)
        job.progress(63, 100, "developing")
        job.check_cancelled()
        lifted = develop(between, raw.facts, gain, LIFTED)
        job.check_cancelled()
    finally:
        between.unlink(missing_ok=True)
    return shot, lifted


def _dithered(levels: NDArray[np.float32], white: float, gain: int) -> NDArray[np.uint16]:
    """Levels times `gain` as whole numbers, rounded at random: brightening would show the steps."""
    random = np.random.default_rng(0)
    out = np.empty(levels.shape, np.uint16)
    for top in range(0, len(levels), _ROWS):
        part = levels[top : top + _ROWS] * np.float32(gain)
        part += random.random(part.shape, np.float32)
        out[top : top + _ROWS] = np.clip(np.floor(part, out=part), 0.0, white * gain, out=part)
    return out


def _frames(facts: RawFacts) -> tuple[str, ...]:
    if facts.frames > 1:
        return (f"This file holds {facts.frames} pictures; the first was taken",)
    return ()
