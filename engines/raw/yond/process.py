"""One RAW file from reading to writing.

Read the mosaic, bring it to four canonical planes, denoise blindly (`engines.raw.yond.denoise`),
put clipped pixels and any wanted share of the noise back, write what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.base import Job, Measurement, Result, UserError
from engines.media.raw_facts import RawFacts, RawImage
from engines.media.raw_file import read_raw
from engines.raw.noise.figure import draw_noise_figure
from engines.raw.noise.profile import NONE
from engines.raw.share import Share
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.denoise import Denoised, denoise, keep_clipped, put_back
from engines.raw.yond.export import Export, export
from engines.raw.yond.frames import Shot, shots_of, together
from engines.raw.yond.known import prepare
from engines.raw.yond.others import clean_picture, variance_left
from engines.raw.yond.params import CleanParams, YondParams
from engines.raw.yond.shifted import Merger, as_image
from kernels.bayer import pack, site_order, unpack


def process(path: Path, params: YondParams, job: Job, engine: str, version: str) -> Result:
    """Denoise `path` and write the outputs that `params` asks for into the job's workspace.

    Raises:
        UserError: the file or the weights cannot be used.
        Cancelled: passed through.
    """
    begun = perf_counter()
    raw, network = opened(path, params, job)
    if params.frames == "average" and raw.facts.frames > 1:
        shots = [Shot(path, number) for number in range(raw.facts.frames)]
        done = put_together(raw, shots, network, params, job)
    else:
        levels, found, left = clean_levels(raw, network, params, job, path)
        done = Cleaned(raw, levels, found, left)
        if raw.facts.frames > 1:
            done.notes.append(f"This file holds {raw.facts.frames} pictures; the first was taken")
    return finished(path, done, params, job, Made(engine, version, begun))


def process_stack(
    paths: Sequence[Path], params: CleanParams, job: Job, engine: str, version: str
) -> Result:
    """Denoise all pictures of some files as one, which is named after the first; see `process`."""
    begun = perf_counter()
    raw, network = opened(paths[0], params, job)
    shots = shots_of(paths)
    if len(shots) < 2:
        raise UserError("Add two or more RAW files of one scene; YOND takes single ones")
    done = put_together(raw, shots, network, params, job)
    return finished(paths[0], done, params, job, Made(engine, version, begun))


@dataclass(frozen=True)
class Made:
    """Which engine made something, and when it began (`perf_counter`)."""

    engine: str
    version: str
    begun: float


@dataclass(frozen=True)
class Cleaned:
    """A denoised picture.

    Attributes:
        raw: what it was.
        levels: of its shape, DN, black included.
        found: the noise.
        left: share of the noise that is left.
        notes: sentences for the person.
        pictures: how many it was made of.
    """

    raw: RawImage
    levels: NDArray[np.float32]
    found: Denoised
    left: float
    notes: list[str] = field(default_factory=list[str])
    pictures: int = 1


def opened(path: Path, params: CleanParams, job: Job) -> tuple[RawImage, GuidedResUnet]:
    """The file's first picture, and the network.

    Raises:
        UserError: one of them cannot be used.
    """
    job.progress(0, 100, "reading the RAW")
    raw = read_raw(path)
    if raw.facts.kind == "four" and "linear-dng" in params.output:
        raise UserError(
            f"{path.name} has four colours, which no linear DNG of three holds; choose DNG, TIFF "
            "or JPEG"
        )
    job.check_cancelled()
    network = job.load(params.network).network
    if not isinstance(network, GuidedResUnet):
        raise UserError(f"The weights {params.network} are of another network; choose others")
    job.progress(3, 100, "measuring the noise")
    return raw, network


def put_together(
    raw: RawImage, shots: Sequence[Shot], network: GuidedResUnet, params: CleanParams, job: Job
) -> Cleaned:
    """Several pictures as one, `raw` the first of them; see `engines.raw.yond.frames`.

    Raises:
        UserError: they cannot be put together.
    """
    count = len(shots)
    found = together(raw, shots, job)
    if found.still:
        working = of_mean(params, count)
        levels, clean, left = clean_levels(raw, network, working, job, None, found.mean)
        note = f"The mean of {count} pictures was denoised; K and sigma are the mean's"
        return Cleaned(raw, levels, clean, left, [note], count)
    shifts = found.shifts
    del found
    noisy, merged = (Merger(raw.facts, shifts, shots[0].path.name) for _ in range(2))
    first: tuple[Denoised, float] | None = None
    for number, (shot, shift) in enumerate(zip(shots, shifts, strict=True)):
        one = shot.read()
        part: Job = Share(job, 3 + 82 * number / count, 3 + 82 * (number + 1) / count)  # type: ignore[assignment]
        levels, clean, left = clean_levels(one, network, params, part, shot.path)
        first = first or (clean, left)
        noisy.add(one.mosaic, shift)
        merged.add(levels, shift)
        del one, levels
    assert first is not None
    notes = [
        f"{count} pictures of a sensor that was shifted between them (pixel shift) were denoised "
        "and put together, every colour real at every pixel; what moved has coloured edges"
    ]
    return Cleaned(as_image(noisy.facts(), noisy.finish()), merged.finish(), *first, notes, count)


def finished(path: Path, done: Cleaned, params: CleanParams, job: Job, made: Made) -> Result:
    """Write what was asked for, and say what was found."""
    job.check_cancelled()
    facts, found, last = done.raw.facts, done.found, done.found.last
    megapixels = facts.height * facts.width / 1e6
    measurements = {
        "K": Measurement(last.K, "DN/e-"),
        "sigma": Measurement(last.sigma, "DN"),
        "confidence": Measurement(last.confidence),
        "read_noise": Measurement(last.sigma / last.K, "e-"),
        "passes": Measurement(found.passes),
        "hot_pixels": Measurement(len(found.hot) + found.listed),
        "row_noise_removed": Measurement(found.rows, "DN"),
        **_known("neighbour_correlation", found.neighbours),
        **_known("iso", facts.iso),
        **_known("pictures", done.pictures if done.pictures > 1 else None),
        "megapixels": Measurement(megapixels, "MP"),
        "megapixels_per_second": Measurement(megapixels / (perf_counter() - made.begun), "MP/s"),
    }
    figure = draw_noise_figure(
        job.workspace / "noise.png", found.first, last if found.passes == 2 else None,
        told=found.told,
    )  # fmt: skip
    scale = facts.white - float(np.mean(facts.black))
    profile = (last.K / scale * done.left, (last.sigma / scale) ** 2 * done.left)
    what = Export(
        done.raw, path, done.levels, job.load(params.network), made.engine, made.version,
        measurements, 1.0 - done.left, profile,
    )  # fmt: skip
    notes = (*found.notes, *done.notes, *_notes(facts, params))
    return export(what, params, job, figures=(figure,), notes=notes)


def _known(name: str, value: float | None) -> dict[str, Measurement]:
    return {} if value is None else {name: Measurement(value)}


def clean_levels(
    raw: RawImage,
    network: GuidedResUnet,
    params: CleanParams,
    job: Job,
    path: Path | None = None,
    samples: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], Denoised, float]:
    """Denoised mosaic, of the input's shape, in DN, black included; what was found; share of the
    noise left.

    `path` is the file's, for what its sensor's covered columns say of rows; `samples` stands in for
    the mosaic where it is the mean of several.
    """
    facts = raw.facts
    if facts.kind != "bayer":
        return clean_picture(raw, network, params, job, samples)
    planes, black, span = to_planes(raw, samples)
    scale = float(span.mean())
    clip = (facts.clip - float(black.mean())) / scale
    known = prepare(planes, scale, clip, facts, path, params, job)
    found = denoise(planes, scale, network, known.params, job, clip)
    hot = tuple(found.hot.T)
    planes[hot] = found.planes[hot]  # neither put back nor kept as clipped
    clean = put_back(planes, found.planes, params.detail, params.colour, facts.neutral)
    clean = keep_clipped(planes, clean, 0.98 * clip)
    left = variance_left(planes, clean, found.planes)
    # Full-size arrays are given back as soon as they are not needed: files are yet to be written.
    notes = (*known.notes, *found.notes)
    found = replace(
        found, planes=torch.empty(0), rows=known.rows, listed=known.hot, notes=notes,
        told=known.params.K is not None,
    )  # fmt: skip
    del planes
    levels = unpack(clean.mul_(span).add_(black), facts.cfa, facts.height, facts.width)
    return levels.numpy(), found, left


def of_mean(params: CleanParams, count: int) -> CleanParams:
    """Parameters for the mean of `count` pictures: what is known of one's noise, for theirs."""
    if params.K is None or params.sigma is None:
        return params.model_copy(update={"profile": NONE})
    told = {"K": params.K / count, "sigma": params.sigma / count**0.5}
    return params.model_copy(update={"profile": NONE, **told})


def to_planes(
    raw: RawImage, samples: NDArray[np.float32] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Planes with 0 at black and 1 at white, and black and span (4, 1, 1) in DN.

    `samples` stands in for the mosaic.
    """
    facts = raw.facts
    black = torch.tensor([facts.black[site] for site in site_order(facts.cfa)]).reshape(4, 1, 1)
    span = (facts.white - black).clamp(min=1.0)
    mosaic = torch.from_numpy(raw.mosaic if samples is None else samples)
    planes = pack(mosaic, facts.cfa).to(torch.float32)
    return planes.sub_(black).div_(span), black, span


def _notes(facts: RawFacts, params: CleanParams) -> list[str]:
    notes: list[str] = []
    if facts.kind == "quad" and "dng" in params.output:
        notes.append(
            "Few converters know a quad-Bayer mosaic; choose linear DNG or TIFF if yours does not"
        )
    if facts.noise_reduction is not None and facts.noise_reduction > 0.0:
        notes.append(
            "The file says that noise reduction was already applied; a lower strength may do"
        )
    return notes
