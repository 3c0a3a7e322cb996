"""Parameters of `raw.yond`; the page's controls and the command line's options are made of them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from engines import options
from engines.base import Params, option
from engines.raw.noise.profile import AUTO, PROFILES_OR_NONE

Form = Literal["dng", "linear-dng", "tiff", "jpeg"]

NETWORKS = {"best": "yond-snrnet", "fast": "yond-snrnet-small"}


class CleanParams(Params):
    """How one picture, or the mean of several, is denoised; everything has a blind default."""

    strength: float = option(
        1.0,
        title="Strength",
        description="Noise level told to the network; 1 is the measured noise, 0 changes nothing",
        ge=0.0,
        le=2.0,
    )
    quality: Literal["best", "fast"] = option(
        "best",
        title="Quality",
        description="Fast is a network of a quarter the work, 0.1 to 0.4 dB behind",
    )
    output: tuple[Form, ...] = option(
        ("dng",),
        title="Output",
        description="Mosaic DNG opens in any RAW converter like the original; several are possible",
        min_length=1,
        max_length=4,
    )
    exposure: float | None = options.exposure()
    passes: Literal[1, 2] = option(
        2,
        title="Passes",
        description="Two measures the noise again on the first result and denoises anew",
    )
    profile: str = option(
        AUTO,
        title="Camera profile",
        description="Noise of a calibrated camera; automatic takes what fits the file, or measures",
        models=PROFILES_OR_NONE,
        max_length=200,
        advanced=True,
    )
    detail: float = option(
        0.0,
        title="Recover detail",
        description="Share of the removed luminance that is put back; film-like grain at 0.2",
        ge=0.0,
        le=1.0,
        advanced=True,
    )
    colour: float = option(
        0.0,
        title="Keep colour noise",
        description="Share of the removed colour variation that is put back",
        ge=0.0,
        le=1.0,
        advanced=True,
    )
    hot_pixels: bool = option(
        True,
        title="Remove hot pixels",
        description="Takes out single lit photosites; stars stay, as other colours see them too",
        advanced=True,
    )
    K: float | None = option(
        None,
        title="Gain K",
        description="Set by hand together with sigma when you know your sensor; empty is measured",
        unit="DN/e-",
        gt=0.0,
        le=10_000.0,
        advanced=True,
    )
    sigma: float | None = option(
        None,
        title="Read noise sigma",
        description="Set by hand together with K; empty is measured",
        unit="DN",
        ge=0.0,
        le=100_000.0,
        advanced=True,
    )
    weights: str = options.weights(
        "",
        "Empty goes by quality; or one that you added under Models",
        "raw.yond/snrnet",
    )
    tile: int = options.raw_tile()

    @property
    def network(self) -> str:
        """Id of the weights to load."""
        return self.weights or NETWORKS[self.quality]

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.K is None) != (self.sigma is None):
            raise ValueError("Give K and sigma together, or neither")
        return self


class YondParams(CleanParams):
    """All of `raw.yond`."""

    frames: Literal["first", "average"] = option(
        "first",
        title="Pictures in a file",
        description="Of several (burst, pixel shift) the first, or all of them put together",
        advanced=True,
    )
