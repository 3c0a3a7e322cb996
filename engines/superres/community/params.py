"""Parameters of `superres.spandrel`."""

from __future__ import annotations

from engines.base import option
from engines.superres.params import SuperresParams


class SpandrelParams(SuperresParams):
    """Which file."""

    weights: str = option(
        "",
        title="Weights",
        description="A community upscaler (.pth, .safetensors, or .param and .bin) added under "
        "Models",
        models="superres.spandrel",
        max_length=120,
    )
