"""One RAW file from reading to writing.

Read the mosaic, bring it to four canonical planes, denoise blindly (`engines.raw.yond.denoise`),
put clipped pixels and any wanted share of the noise back, write what was asked for.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from engines.base import Job, Measurement, Result
from engines.media.raw_file import RawFacts, RawImage, read_raw
from engines.raw.noise.figure import draw_noise_figure
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.denoise import Denoised, denoise, keep_clipped, put_back
from engines.raw.yond.export import Export, export
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
    job.check_cancelled()
    model: LoadedModel = job.load(params.weights)
    network = model.network
    assert isinstance(network, GuidedResUnet)
    job.progress(3, 100, "measuring the noise")
    planes, black, span = _to_planes(raw)
    facts = raw.facts
    clip = (facts.clip - float(black.mean())) / float(span.mean())
    found = denoise(planes, float(span.mean()), network, params, job, clip)
    clean = put_back(planes, found.planes, params.detail, params.colour, facts.neutral)
    clean = keep_clipped(planes, clean, 0.98 * clip)
    left = _variance_left(planes, clean, found)
    del planes
    levels = unpack(clean * span + black, facts.cfa, facts.height, facts.width).numpy()
    job.check_cancelled()
    seconds = perf_counter() - begun
    scale = float(span.mean())
    measurements = {
        "K": Measurement(found.last.K, "DN/e-"),
        "sigma": Measurement(found.last.sigma, "DN"),
        "confidence": Measurement(found.last.confidence),
        "read_noise": Measurement(found.last.sigma / found.last.K, "e-"),
        "passes": Measurement(found.passes),
        "megapixels": Measurement(facts.height * facts.width / 1e6, "MP"),
        "megapixels_per_second": Measurement(facts.height * facts.width / 1e6 / seconds, "MP/s"),
    }
    figure = draw_noise_figure(
        job.workspace / "noise.png", found.first, found.last if found.passes == 2 else None
    )
    profile = (found.last.K / scale * left, (found.last.sigma / scale) ** 2 * left)
    return export(
        Export(raw, path, levels, model, engine, version, measurements, 1.0 - left, profile),
        params,
        job,
        figures=(figure,),
        notes=(*found.notes, *_notes(facts)),
    )


def _to_planes(raw: RawImage) -> tuple[Tensor, Tensor, Tensor]:
    """Planes with 0 at black and 1 at white, and black and span (4, 1, 1) in DN."""
    facts = raw.facts
    black = torch.tensor([facts.black[site] for site in site_order(facts.cfa)]).reshape(4, 1, 1)
    span = (facts.white - black).clamp(min=1.0)
    planes = pack(torch.from_numpy(raw.mosaic), facts.cfa).to(torch.float32)
    return planes.sub_(black).div_(span), black, span


def _variance_left(noisy: Tensor, clean: Tensor, found: Denoised) -> float:
    """Share of the noise variance that is still there, from what was put back; 1e-4 at least."""
    if torch.equal(noisy, clean):
        return 1.0
    removed = float((noisy - clean).square().mean())
    whole = float((noisy - found.planes).square().mean())
    kept = 1.0 - (removed / whole) ** 0.5 if whole > 0.0 else 0.0
    return float(np.clip(kept, 0.01, 1.0)) ** 2


def _notes(facts: RawFacts) -> list[str]:
    notes: list[str] = []
    if facts.frames > 1:
        notes.append(f"This file holds {facts.frames} pictures; the first was taken")
    if facts.noise_reduction is not None and facts.noise_reduction > 0.0:
        notes.append(
            "The file says that noise reduction was already applied; a lower strength may do"
        )
    return notes
