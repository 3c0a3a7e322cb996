"""Parameters of `superres.ediffsr`."""

from __future__ import annotations

from typing import Literal

from engines.base import option
from engines.superres.params import SuperresParams


class EdiffsrParams(SuperresParams):
    """The sampler and its weights."""

    sampler: Literal["auto", "paper", "posterior", "ode"] = option(
        "auto",
        title="Sampler",
        description="Auto takes few steps, paper is the authors' with 100",
        advanced=True,
    )
    steps: int | None = option(
        None,
        title="Steps",
        description="Of the diffusion; empty is the sampler's own number",
        ge=1,
        le=100,
        advanced=True,
    )
    weights: str = option(
        "ediffsr-small",
        title="Weights",
        description="The bundled small network, or the authors' that you added under Models; "
        "without a GPU that takes about a minute for each step and megapixel of the result",
        models="superres.ediffsr/net",
        max_length=120,
        advanced=True,
    )
