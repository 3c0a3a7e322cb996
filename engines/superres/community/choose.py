"""From a chosen file to the method of `superres.spandrel`."""

from __future__ import annotations

import re

from engines.base import Job, UserError
from engines.superres.community.ncnn_file import NcnnNet
from engines.superres.community.params import SpandrelParams
from engines.superres.community.torch_file import Community
from engines.superres.upscaler import Method, Steps, chain


def choose(params: SpandrelParams, job: Job, factor: float, _steps: Steps) -> Method:
    """One network, as often as the factor takes it.

    Raises:
        UserError: no file was chosen, or it is no community upscaler.
    """
    if not params.weights:
        raise UserError("Choose a community upscaler under Weights; add its file under Models")
    loaded = job.load(params.weights)
    network = loaded.network
    if not isinstance(network, Community | NcnnNet):
        raise UserError(f"{params.weights} is no community upscaler; choose one under Weights")
    times = len(chain(factor, (network.scale,)))
    notes = ()
    if network.scale == 1 and factor > 1.0:
        notes = ("These weights restore without enlarging, so Lanczos did the rest",)
    name = re.sub(r"[^a-z0-9]+", "-", loaded.file.id.lower()).strip("-") or "community"
    return Method(name, [network] * times, {loaded.file.id: loaded.file.sha256}, notes=notes)
