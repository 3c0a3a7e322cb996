"""One RAW file from reading to writing.

Read the mosaic, bring it to four canonical planes, denoise blindly (`engines.raw.yond.denoise`),
put clipped pixels and any wanted share of the noise back, write what was asked for.
"""

from __future__ import annotations

from dataclasses import replace
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
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.denoise import Denoised, denoise, keep_clipped, put_back
from engines.raw.yond.export import Export, export
from engines.raw.yond.frames import averaged
from engines.raw.yond.known import prepare
from engines.raw.yond.others import clean_picture, variance_left
from engines.raw.yond.params import YondParams
from engines.weights import LoadedModel
from kernels.bayer import pack, site_order, unpack


def process(path: Path, params: YondParams, job: Job, engine: str, version: str) -> Result:
    """Denoise `path` and write the outputs that `params` asks for into the job's workspace.

    Raises:
        UserError: the file or the weights cannot be used.
        Cancelled: passed through.
    """
    begun = perf_counter()
    job.progress(0, 100, "reading the RAW")
    raw = read_raw(path)
    if raw.facts.kind == "four" and "linear-dng" in params.output:
        raise UserError(
            f"{path.name} has four colours, which no linear DNG of three holds; choose DNG, TIFF "
            "or JPEG"
        )
    job.check_cancelled()
    model: LoadedModel = job.load(params.network)
    network = model.network
    if not isinstance(network, GuidedResUnet):
        raise UserError(f"The weights {params.network} are of another network; choose others")
    job.progress(3, 100, "measuring the noise")
    if params.frames == "average" and raw.facts.frames > 1:
        samples = averaged(raw, path, job)
        working = of_mean(params, raw.facts.frames)
        levels, found, left = clean_levels(raw, network, working, job, None, samples)
        del samples
    else:
        levels, found, left = clean_levels(raw, network, params, job, path)
    job.check_cancelled()
    facts, last = raw.facts, found.last
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
        "megapixels": Measurement(megapixels, "MP"),
        "megapixels_per_second": Measurement(megapixels / (perf_counter() - begun), "MP/s"),
    }
    figure = draw_noise_figure(
        job.workspace / "noise.png", found.first, last if found.passes == 2 else None,
        told=found.told,
    )  # fmt: skip
    scale = facts.white - float(np.mean(facts.black))
    profile = (last.K / scale * left, (last.sigma / scale) ** 2 * left)
    return export(
        Export(raw, path, levels, model, engine, version, measurements, 1.0 - left, profile),
        params,
        job,
        figures=(figure,),
        notes=(*found.notes, *_notes(facts, params)),
    )


def _known(name: str, value: float | None) -> dict[str, Measurement]:
    return {} if value is None else {name: Measurement(value)}


def clean_levels(
    raw: RawImage,
    network: GuidedResUnet,
    params: YondParams,
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


def of_mean(params: YondParams, count: int) -> YondParams:
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


def _notes(facts: RawFacts, params: YondParams) -> list[str]:
    notes: list[str] = []
    if facts.frames > 1 and params.frames == "first":
        notes.append(f"This file holds {facts.frames} pictures; the first was taken")
    elif facts.frames > 1:
        notes.append(
            f"The mean of {facts.frames} pictures was denoised; K and sigma are the mean's"
        )
    if facts.kind == "quad" and "dng" in params.output:
        notes.append(
            "Few converters know a quad-Bayer mosaic; choose linear DNG or TIFF if yours does not"
        )
    if facts.noise_reduction is not None and facts.noise_reduction > 0.0:
        notes.append(
            "The file says that noise reduction was already applied; a lower strength may do"
        )
    return notes
