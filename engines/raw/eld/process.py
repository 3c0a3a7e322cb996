"""One dark RAW from reading to writing: amplify, denoise tile by tile, write it bright.

What would lie above white after amplifying is white, as in the authors' own evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from engines.base import Job, Measurement, Result, UserError
from engines.media.raw_file import read_bayer
from engines.raw.eld.arch import SeeInDark
from engines.raw.eld.guided import WideUnet
from engines.raw.eld.params import EldParams
from engines.raw.yond.denoise import Denoised
from engines.raw.yond.denoise import denoise as clean_planes
from engines.raw.yond.export import Export, export
from engines.raw.yond.known import prepare
from engines.raw.yond.params import CleanParams
from engines.raw.yond.pipeline import plan, window
from engines.raw.yond.process import to_planes
from engines.weights import LoadedModel
from kernels.bayer import unpack

_MOST = 300.0  # amplification chosen by itself; what the network was trained on ends there
_BRIGHT, _SHARE = 0.9, 0.995  # where the brightest parts are to lie
_BLOCK = 16  # packed pixels
_WORTH = 10.0
HEADROOM = 8.0  # white of the stabilised planes over where the picture comes to lie


def process(path: Path, params: EldParams, job: Job, engine: str, version: str) -> Result:
    """Denoise `path` and write the outputs that `params` asks for into the job's workspace.

    Raises:
        UserError: the file or the weights cannot be used.
        Cancelled: passed through.
    """
    begun = perf_counter()
    job.progress(0, 100, "reading the RAW")
    raw = read_bayer(path, "Denoising for one camera (raw.eld)")
    job.check_cancelled()
    model: LoadedModel = job.load(params.network)
    network = model.network
    if not isinstance(network, SeeInDark | WideUnet):
        raise UserError(f"The weights {params.network} are of another network; choose others")
    facts = raw.facts
    planes, black, span = to_planes(raw)
    ratio = params.ratio if params.ratio is not None else darkness(planes)
    scale = float(span.mean())
    clip = (facts.clip - float(black.mean())) / scale
    job.progress(3, 100, "looking at the noise")
    known = prepare(planes, scale, clip, facts, path, params.cleaning(), job)
    notes = list(known.notes)
    if isinstance(network, WideUnet):
        found = denoise_told(planes, ratio, scale, clip, network, known.params, job)
        clean = found.planes
        notes += found.notes
    else:
        pedestal = model.file.state != "official"
        step = _steps(job, len(plan(planes.shape[1], planes.shape[2], params.tile)))
        clean = denoise(planes, ratio, network, params.tile, step, pedestal=pedestal)
    levels = unpack(clean.mul_(span).add_(black), facts.cfa, facts.height, facts.width).numpy()
    megapixels = facts.height * facts.width / 1e6
    measurements = {
        "ratio": Measurement(ratio, "x"),
        "megapixels": Measurement(megapixels, "MP"),
        "megapixels_per_second": Measurement(megapixels / (perf_counter() - begun), "MP/s"),
    }
    if ratio < _WORTH:
        notes.append(
            "This picture is hardly too dark; ELD was trained on pictures that are thirty times "
            "too dark and more, and YOND will keep more detail"
        )
    made = Export(raw, path, levels, model, engine, version, measurements, 1.0, (), ratio)
    return export(made, params, job, figures=(), notes=notes)


def _steps(job: Job, count: int) -> Callable[[], None]:
    done = 0

    def step() -> None:
        nonlocal done
        job.check_cancelled()
        job.progress(5 + 80 * done / count, 100, f"denoising, tile {done + 1} of {count}")
        done += 1

    return step


def denoise_told(
    planes: Tensor,
    ratio: float,
    scale: float,
    clip: float,
    network: WideUnet,
    params: CleanParams,
    job: Job,
) -> Denoised:
    """Denoise by the network of ours and amplify: YOND's steps, where white is only so high as
    this picture needs it.

    Args:
        planes: (4, h, w) float32 on the CPU, 0 at black and 1 at white.
        ratio: amplification.
        scale: white minus black in DN.
        clip: where the sensor clips, in the units of `planes`.
        network: on its device.
        params: with K and sigma where they are known; they are measured where they are not.
        job: gets progress from 5 to 85 of 100; cancels at every tile.

    Returns:
        Its `planes` are amplified, at most 1.
    """
    brighter = max(ratio / HEADROOM, 1.0)
    found = clean_planes(planes * brighter, scale / brighter, network, params, job, clip * brighter)
    return replace(found, planes=found.planes.mul_(ratio / brighter).clamp_(max=1.0))


def darkness(planes: Tensor) -> float:
    """How many times too dark planes are: means of blocks, so that noise does not count."""
    height, width = (size // _BLOCK * _BLOCK for size in planes.shape[1:])
    if min(height, width) == 0:
        return 1.0
    blocks = planes[:, :height, :width].reshape(
        4, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK
    )
    brightest = blocks.mean(dim=(2, 4)).amax(dim=0).flatten().numpy()
    top = max(float(np.quantile(brightest, _SHARE)), 1e-5)
    return float(np.clip(_BRIGHT / top, 1.0, _MOST))


def denoise(
    planes: Tensor,
    ratio: float,
    network: SeeInDark,
    tile: int,
    step: Callable[[], None],
    *,
    pedestal: bool,
) -> Tensor:
    """Amplify and denoise.

    Args:
        planes: (4, h, w) float32 on the CPU, 0 at black and 1 at white.
        ratio: amplification.
        network: the U-Net on its device.
        tile: side of a tile, packed pixels.
        step: called before every tile; may raise `Cancelled`.
        pedestal: what lies below black is kept; the authors' networks know nothing below it.

    Returns:
        (4, h, w) amplified and clean planes, at most 1.
    """
    device = next(network.parameters()).device
    halo = -(-network.receptive_radius // network.multiple) * network.multiple
    out = torch.empty_like(planes)
    for place in plan(planes.shape[1], planes.shape[2], tile):
        step()
        part = (window(planes, place, halo, network.multiple) * ratio).clamp(max=1.0)
        if not pedestal:
            part = part.clamp(min=0.0)
        part = part[None].to(device).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            clean = network(part)[0]
        top, left, bottom, right = place
        inner = clean[:, halo : halo + bottom - top, halo : halo + right - left]
        out[:, top:bottom, left:right] = inner.clamp(max=1.0).to("cpu", planes.dtype)
    return out
