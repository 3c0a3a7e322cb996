"""Parameters of `superres.upsr`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from engines.base import option
from engines.superres.params import SuperresParams


class UpsrParams(SuperresParams):
    """Fast is one call of the regressor; Sharp lets the diffusion draw on what that found."""

    mode: Literal["fast", "sharp"] = option(
        "fast",
        title="Mode",
        description="Fast is the faithful estimate, Sharp draws detail on it by diffusion",
    )
    source: Literal["auto", "clean", "photo"] = option(
        "auto",
        title="Picture",
        description="Clean keeps all of a good original, photo takes noise and JPEG traces out; "
        "auto goes by the JPEG's own quality",
    )
    steps: int | None = option(
        None,
        title="Steps",
        description="Of the diffusion in Sharp; empty is 5, and 2 for clean pictures with the "
        "bundled weights; more draw more, true or not",
        ge=1,
        le=20,
        advanced=True,
    )
    draw: Literal["auto", "unsure", "everywhere"] = option(
        "auto",
        title="Draw",
        description="Where Sharp may change the estimate: unsure leaves sky and other smooth parts "
        "alone; auto does that with the bundled weights",
        advanced=True,
    )
    ensemble: bool = option(
        False,
        title="Eight views",
        description="The mean of Fast on all flips and turns of the picture: a little more "
        "faithful, a little softer, and eight times as long",
        advanced=True,
    )
    weights: str = option(
        "upsr-small",
        title="Weights of the diffusion",
        description="The bundled small network, or the authors' that you added under Models; "
        "without a GPU that takes about 5 minutes for each megapixel of the result",
        models="superres.upsr/unet",
        max_length=120,
        advanced=True,
    )
    regressor: str = option(
        "",
        title="Weights of the estimate",
        description="Empty goes by mode, picture and scale; or one that you added under Models",
        models="superres.upsr",
        max_length=120,
        advanced=True,
    )

    def for_file(self, path: Path) -> Self:
        """With the condition of the picture decided; see `condition`."""
        if self.source != "auto":
            return self
        from engines.superres.upsr.condition import condition

        return self.model_copy(update={"source": condition(path)})
