"""Parameters of `raw.eld`."""

from __future__ import annotations

from engines import options
from engines.base import Params, option
from engines.raw.yond.params import Form


class EldParams(Params):
    """Everything but the weights has an automatic default."""

    ratio: float | None = option(
        None,
        title="Amplification",
        description="How many times too dark the picture is; empty is judged from the picture",
        unit="x",
        ge=1.0,
        le=1000.0,
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
        description="Of your camera: the authors' file, or what `train eld-small` made, added "
        "under Models",
        models="raw.eld/unet",
        max_length=120,
    )
    tile: int = options.raw_tile()
