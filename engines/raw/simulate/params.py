"""Parameters of `raw.simulate`."""

from __future__ import annotations

from typing import Literal

from engines.base import Params, option
from engines.raw.noise.profile import PROFILES


class SimulateParams(Params):
    """A camera, its setting, and how little light there is."""

    profile: str = option(
        "sony-a7s-ii",
        title="Camera",
        description="Whose noise: a published camera's, or one that you calibrated",
        models=PROFILES,
        max_length=200,
    )
    iso: float = option(
        3200.0,
        title="ISO",
        description="Setting at which that camera is; between measured ones it is interpolated",
        suggested=(100.0, 400.0, 1600.0, 3200.0, 6400.0, 12800.0),
        ge=1.0,
        le=1_000_000.0,
    )
    ratio: float = option(
        10.0,
        title="Under-exposure",
        description="How many times less light than in the input; 1 is the input's own",
        unit="x",
        suggested=(1.0, 10.0, 30.0, 100.0, 300.0),
        ge=1.0,
        le=1000.0,
    )
    noise: Literal["eld", "poisson-gaussian", "gaussian", "pnnp"] = option(
        "eld",
        title="Noise model",
        description="ELD has all parts of a sensor's noise; the others are for comparison",
    )
    weights: str = option(
        "pnnp",
        title="PNNP weights",
        description="Learned from dark frames by `train pnnp`; used by the model pnnp alone",
        models="raw.simulate/pnnp",
        max_length=120,
        advanced=True,
    )
    seed: int = option(
        1,
        title="Seed",
        description="The same seed draws the same noise",
        ge=0,
        le=2**31 - 1,
        advanced=True,
    )
