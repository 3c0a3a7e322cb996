"""Parameters of `raw.eld`."""

from __future__ import annotations

from engines import options
from engines.base import Params, option
from engines.raw.noise.profile import AUTO, PROFILES_OR_NONE
from engines.raw.yond.params import CleanParams, Form


class EldParams(Params):
    """Everything has an automatic default."""

    ratio: float | None = option(
        None,
        title="Amplification",
        description="How many times too dark the picture is; empty is judged from the picture",
        unit="x",
        ge=1.0,
        le=1000.0,
    )
    profile: str = option(
        AUTO,
        title="Camera profile",
        description="Noise of a calibrated camera; automatic takes what fits the file, or measures",
        models=PROFILES_OR_NONE,
        max_length=200,
    )
    output: tuple[Form, ...] = option(
        ("dng",),
        title="Output",
        description="Amplified mosaic DNG for any RAW converter; several are possible",
        min_length=1,
        max_length=4,
    )
    exposure: float | None = options.exposure()
    weights: str = option(
        "",
        title="Weights",
        description="Empty is the network that ships; or one of your camera, added under Models",
        models="raw.eld/unet",
        max_length=120,
        advanced=True,
    )
    tile: int = options.raw_tile()

    @property
    def network(self) -> str:
        """Id of the weights to load."""
        return self.weights or "eld-small"

    def cleaning(self) -> CleanParams:
        """As YOND's steps take them."""
        return CleanParams(profile=self.profile, tile=self.tile)
