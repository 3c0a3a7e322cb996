"""Denoising of what is no Bayer mosaic: X-Trans, monochrome, four colours, quad-Bayer, demosaiced.

As with Bayer, but the picture stays one array and `engines.raw.yond.layouts` makes the stacks of
planes. Rows, offsets of colours and a list of hot photosites are not taken from camera profiles
here: those are of Bayer mosaics.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.base import Job
from engines.media.raw_facts import RawFacts, RawImage
from engines.raw.noise.estimate import estimate_self
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.denoise import Denoised, denoise_picture, keep_clipped
from engines.raw.yond.known import told
from engines.raw.yond.layouts import layout_of
from engines.raw.yond.params import CleanParams
from engines.raw.yond.phases import Demosaiced

_UNEVEN = 0.8  # noise of one phase over that of another, below which colours were interpolated
_TRUST = 0.5  # in a measurement whose noise is not white


def clean_picture(
    raw: RawImage,
    network: GuidedResUnet,
    params: CleanParams,
    job: Job,
    samples: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], Denoised, float]:
    """Denoised samples of the input's shape in DN, black included; what was found; share of the
    noise left. `samples` stands in for the picture's own.
    """
    facts = raw.facts
    layout = layout_of(facts)
    values, black, span = normalised(raw, samples)
    scale = facts.white - float(np.mean(facts.black))
    clip = (facts.clip - float(np.mean(facts.black))) / scale
    notes: list[str] = []
    trust = 1.0
    given = params
    if isinstance(layout, Demosaiced):
        rough = layout.roughness(values)
        if min(rough) < _UNEVEN * max(rough):
            trust = _TRUST
            notes.append(
                "This picture was demosaiced before, so its noise hangs together and some of it "
                "stays; the camera's own file would come out better"
            )
    else:
        given, found_notes = told(
            facts, scale, params, job,
            lambda: estimate_self(layout.measured(values), scale, clip),
        )  # fmt: skip
        notes += found_notes
    found = denoise_picture(values, layout, scale, network, given, job, clip)
    hot = tuple(found.hot.T)
    values[hot] = found.planes[hot]
    clean = blended(values, found.planes, params.detail, params.colour, facts)
    clean = keep_clipped(values, clean, 0.98 * clip)
    left = variance_left(values, clean, found.planes)
    last = replace(found.last, confidence=trust * found.last.confidence)
    found = replace(
        found, planes=torch.empty(0), last=last, notes=(*notes, *found.notes),
        told=given.K is not None,
    )  # fmt: skip
    return clean.mul_(span).add_(black).numpy(), found, left


def blended(noisy: Tensor, clean: Tensor, detail: float, colour: float, facts: RawFacts) -> Tensor:
    """Put shares of what was removed back in, as `engines.raw.yond.denoise.put_back` does: the part
    that is grey after white balance, one value a cell, and the rest.

    Args:
        noisy: (H, W) or (H, W, 3) before.
        clean: after.
        detail: share of the grey part, 0 to 1.
        colour: share of the rest, 0 to 1.
        facts: of the file.
    """
    if detail == 0.0 and colour == 0.0:
        return clean
    removed = noisy - clean
    if facts.kind == "mono":
        return clean + detail * removed
    neutral = torch.tensor(facts.neutral, dtype=torch.float32)
    if facts.kind == "linear":
        common = (removed / neutral).mean(dim=2, keepdim=True) * neutral
    else:
        cell = neutral[torch.from_numpy(facts.colour_cell)]
        grey = cell.repeat(*(-(-n // len(cell)) for n in removed.shape))
        grey = grey[: removed.shape[0], : removed.shape[1]]
        side = 3 if facts.kind == "xtrans" else len(cell)
        common = _cell_means(removed / grey, side) * grey
    return clean + detail * common + colour * (removed - common)


def _cell_means(values: Tensor, side: int) -> Tensor:
    """Every value replaced by the mean of its cell; cells at the far borders may be cut."""
    kernel = torch.nn.functional.avg_pool2d
    mean = kernel(values[None, None], side, ceil_mode=True)[0, 0]
    whole = mean.repeat_interleave(side, 0).repeat_interleave(side, 1)
    return whole[: values.shape[0], : values.shape[1]]


def normalised(
    raw: RawImage, samples: NDArray[np.float32] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Samples with 0 at black and 1 at white, float32; black and span in DN, laid out alike."""
    facts = raw.facts
    cell = torch.from_numpy(facts.black_cell)
    if facts.channels == 1:
        height, width = facts.height, facts.width
        side = len(cell)
        black = cell.repeat(-(-height // side), -(-width // side))[:height, :width]
    else:
        black = cell
    span = (facts.white - black).clamp(min=1.0)
    values = torch.from_numpy((raw.mosaic if samples is None else samples).astype(np.float32))
    return values.sub_(black).div_(span), black, span


def variance_left(noisy: Tensor, clean: Tensor, whole: Tensor) -> float:
    """Share of the noise variance that is still there, from what was put back; 1e-4 at least.

    Args:
        noisy: before.
        clean: after, with what was put back.
        whole: after, without it.
    """
    if torch.equal(noisy, clean):
        return 1.0
    removed = float((noisy - clean).square().mean())
    all_of_it = float((noisy - whole).square().mean())
    kept = 1.0 - (removed / all_of_it) ** 0.5 if all_of_it > 0.0 else 0.0
    return float(np.clip(kept, 0.01, 1.0)) ** 2
