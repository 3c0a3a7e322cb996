"""From parameters to the networks of `superres.upsr`: the estimate alone, or the diffusion."""

from __future__ import annotations

from engines.base import Job
from engines.superres.ensemble import Ensemble
from engines.superres.upscaler import Method, Steps, chain
from engines.superres.upsr.estimate import fast_names, upscaler
from engines.superres.upsr.params import UpsrParams
from engines.superres.upsr.sharp import sharp


def choose(params: UpsrParams, job: Job, factor: float, steps: Steps) -> Method:
    """The networks for a factor.

    Raises:
        UserError: weights are not here, or cannot do what is asked.
    """
    if params.mode == "sharp":
        return sharp(params, job, factor, steps)
    if params.regressor:
        loaded = [job.load(params.regressor)]
        loaded *= len(chain(factor, (upscaler(loaded[0]).scale,)))
    else:
        loaded = [job.load(name) for name in fast_names(factor, params.source)]
    stages = [upscaler(one) for one in loaded]
    return Method(
        "upsr-fast",
        [Ensemble(one, steps) for one in stages] if params.ensemble else stages,
        {one.file.id: one.file.sha256 for one in loaded},
    )
