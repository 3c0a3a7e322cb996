"""From parameters to the prior and the measurement of `superres.reddiff`."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from engines.base import Job, UserError
from engines.superres.cost import told
from engines.superres.degrade.jpeg import Jpeg
from engines.superres.degrade.operator import (
    Average,
    Bicubic,
    Blur,
    Clipping,
    Levels,
    Mask,
    Operator,
)
from engines.superres.meter import Pass
from engines.superres.reddiff.params import ReddiffParams
from engines.superres.reddiff.prior import Prior
from engines.superres.reddiff.settings import PriorSettings
from engines.superres.reddiff.solve import Plan, Solver, room
from engines.superres.reddiff.tasks import DOING, Task, steps_of, tuning
from engines.superres.reddiff.unet import AdmUnet
from engines.superres.rows import Canvas, Merged, Picked, Sink, Source, pump
from engines.superres.tiles import channel_groups
from engines.superres.upscaler import Method, Site, Steps, Whole
from engines.weights import BUNDLED

_OVERLAP = (8 / 7) ** 2  # pixels of all tiles over the picture's
_BUNDLED = "reddiff-prior"
_BOX = 3.5  # side of a box over the standard deviation of its mean, about √12
_LARGEST = 8
_NEARLY = 0.03  # of a factor that a filter does unseen


class Reddiff(Whole):
    """The optimisation of a whole picture, three channels at a time."""

    def __init__(self, prior: Prior, operator: Operator, plan: Plan, task: Task) -> None:
        self._prior, self._operator, self._plan = prior, operator, plan
        self._task: Task = task

    @property
    def scale(self) -> int:
        """See `Whole`."""
        return self._operator.scale

    def run(self, source: Source, sink: Sink, site: Site) -> None:
        """See `Whole`."""
        if source.channels == 3:
            self._three(source, sink, site)
            return
        groups = channel_groups(source.channels)
        large = (source.size[0] * self.scale, source.size[1] * self.scale)
        parts: list[Canvas] = []
        for number, group in enumerate(groups):
            parts.append(Canvas(site.file(f"part{number}"), 3, large))
            self._three(Picked(source, group), parts[-1], site)
        pump(Merged(parts, groups, source.channels), sink, site.meter.check)
        for part in parts:
            part.remove()

    def _three(self, source: Source, sink: Sink, site: Site) -> None:
        Solver(
            self._prior, self._operator, self._plan, source, site.origin, site.file, site.meter,
            site.device,
        ).run(sink)  # fmt: skip

    def passes(self, size: tuple[int, int], channels: int) -> list[Pass]:
        """See `Whole`; the tiles of a step are counted when it begins."""
        count = len(self._prior.schedule.times(self._plan.steps, self._plan.together))
        doing = DOING[self._task][0]
        steps = [Pass(1, 1.0, f"step {n + 1} of {count}", doing) for n in range(count)]
        return steps * len(channel_groups(channels))

    def room(self, size: tuple[int, int], channels: int) -> int:
        """See `Whole`."""
        parts = 0 if channels == 3 else 3 * len(channel_groups(channels))
        area = size[0] * size[1] * self.scale**2
        return room(size, self._operator, self._plan.tile) + 4 * parts * area


def choose(
    params: ReddiffParams, job: Job, seen: NDArray | None, factor: float, steps: Steps
) -> Method:
    """The prior and the measurement for a factor.

    Args:
        params: with all that depends on the file decided.
        job: of the studio.
        seen: see `operator_for`.
        factor: of enlarging.
        steps: whom to ask whether to stop.

    Raises:
        UserError: weights are not here, or are of another network.
    """
    try:
        loaded = job.load(params.weights)
    except UserError as error:
        if params.weights != _BUNDLED or (BUNDLED / f"{_BUNDLED}.safetensors").is_file():
            raise
        raise UserError(
            "RED-Diff has no prior here yet; add one under Models (what `python launch.py train "
            "reddiff-prior` gives, guided-diffusion's 256x256_diffusion_uncond.pt, or a "
            "UNet2DModel of diffusers) and choose it as weights"
        ) from error
    if not isinstance(loaded.network, AdmUnet):
        raise UserError(f"The weights {params.weights} are none of RED-Diff; choose others")
    prior = Prior(loaded.network, params.weights, steps.check)
    settings = prior.settings
    side = params.tile or settings.size
    count = min(params.steps or steps_of(params.task), settings.schedule.steps)
    suits = tuning(params.task, count)
    plan = Plan(
        steps=count,
        weight=suits.weight if params.weight is None else params.weight,
        rate=suits.rate if params.rate is None else params.rate,
        betas=suits.betas,
        weighting=params.weighting,
        together=params.together,
        jitter=params.jitter,
        seed=params.seed,
        tile=-(-side // settings.multiple) * settings.multiple,
    )
    operator = operator_for(params, factor, seen)
    return Method(
        "reddiff" if params.task == "enlarge" else f"reddiff-{params.task}",
        [Reddiff(prior, operator, plan, params.task)],
        {loaded.file.id: loaded.file.sha256},
        notes=told(job, _macs(settings.model_dump_json()) * _OVERLAP * plan.steps),
        made=DOING[params.task][1],
    )


def operator_for(params: ReddiffParams, factor: float, seen: NDArray | None) -> Operator:
    """What was done to the picture.

    Args:
        params: with all that depends on the file decided.
        factor: of enlarging.
        seen: (H, W) bool, what of the picture is known; for filling alone.
    """
    match params.task:
        case "enlarge":
            scale = min(math.ceil(factor - _NEARLY), _LARGEST)
            plain = scale == 1 or params.reduction == "average"
            return Average(scale) if plain else Bicubic(scale)
        case "deblur" if params.blur == "gauss":
            return Blur.gauss(params.blur_size)
        case "deblur":
            return Blur.box(2 * max(round((_BOX * params.blur_size - 1.0) / 2.0), 1) + 1)
        case "inpaint":
            assert seen is not None
            return Mask(torch.from_numpy(seen))
        case "jpeg":
            assert params.jpeg_quality is not None
            return Jpeg(params.jpeg_quality, params.jpeg_colour != "full")
        case "hdr":
            return Clipping(params.gain)
        case "dequantise":
            assert params.bits is not None
            return Levels(params.bits)


@lru_cache(maxsize=4)
def _macs(described: str) -> float:
    """Multiplications with additions of a network for each pixel; its settings as JSON."""
    settings = PriorSettings.model_validate_json(described)
    side = settings.size
    with torch.device("meta"), FlopCounterMode(display=False) as counted, torch.no_grad():
        AdmUnet(settings)(torch.empty(1, 3, side, side), torch.empty(1))
    return counted.get_total_flops() / 2.0 / side**2
