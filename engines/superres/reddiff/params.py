"""Parameters of `superres.reddiff`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import field_validator

from engines.base import UserError, option
from engines.superres.params import SuperresParams
from engines.superres.reddiff.schedule import Weighting
from engines.superres.reddiff.tasks import Task

_STROKES = 48_000  # characters, some 5 000 points
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class ReddiffParams(SuperresParams):
    """What was done to the picture, and how the optimisation goes."""

    task: Task = option(
        "enlarge",
        title="Task",
        description="What is to be undone; all but Enlarge keep the picture's size",
    )
    reduction: Literal["average", "bicubic"] = option(
        "bicubic",
        title="Made small by",
        description="Bicubic is what programs do, average what a coarser sensor sees",
        advanced=True,
    )
    blur: Literal["gauss", "box"] = option(
        "gauss",
        title="Blur",
        description="Gauss is a soft lens or a soft scan, box a mean over squares",
    )
    blur_size: float = option(
        1.5,
        title="Size of the blur",
        description="Standard deviation of a Gauss; a box is 3.5 times as wide",
        unit="pixels",
        ge=0.3,
        le=8.0,
    )
    strokes: str = option(
        "",
        title="Brush",
        description="Paint over what is to be filled, in the preview",
        max_length=_STROKES,
        brush=True,
    )
    mask: str = option(
        "",
        title="Mask",
        description="Path of a picture of the same size, white where it is to be filled; without "
        "one and without the brush, what is transparent or painted over",
        max_length=1000,
        local=True,
    )
    paint: str = option(
        "#ff00ff",
        title="Painted in",
        description="Colour of what is painted over, where nothing is transparent",
        max_length=7,
    )
    grow: int = option(
        2,
        title="Edge",
        description="So far around what is marked is filled as well, for its soft edge",
        unit="pixels",
        ge=0,
        le=64,
        advanced=True,
    )
    jpeg_quality: int | None = option(
        None,
        title="JPEG quality",
        description="Of what the picture went through; empty reads it from a JPEG file",
        ge=1,
        le=100,
    )
    jpeg_colour: Literal["auto", "full", "half"] = option(
        "auto",
        title="JPEG colour",
        description="Half stores colour at half the size; auto reads it from a JPEG file",
        advanced=True,
    )
    gain: float = option(
        2.0,
        title="Contrast that was cut off",
        description="Times about the middle grey; as much darker and brighter is recovered",
        unit="x",
        gt=1.0,
        le=8.0,
    )
    bits: int | None = option(
        None,
        title="Bits left",
        description="Of each sample before; empty counts the picture's levels",
        unit="bits",
        ge=1,
        le=7,
    )
    steps: int | None = option(
        None,
        title="Steps",
        description="Of the optimisation; empty goes by the task, the authors' tables take 1000",
        ge=1,
        le=1000,
        advanced=True,
    )
    weight: float | None = option(
        None,
        title="Weight of the prior",
        description="More looks smoother, less fits the picture closer; empty goes by task and "
        "steps",
        ge=0.0,
        le=100.0,
        advanced=True,
    )
    rate: float | None = option(
        None,
        title="Rate",
        description="How far a step goes; empty goes by task and steps",
        gt=0.0,
        le=1.0,
        advanced=True,
    )
    weighting: Weighting = option(
        "linear",
        title="Weighting",
        description="Of the prior over time, by noise over signal; the paper's is linear",
        advanced=True,
    )
    together: int = option(
        1,
        title="Times at once",
        description="Times that share a step, which are then fewer; the paper's parallel variant",
        ge=1,
        le=25,
        advanced=True,
    )
    jitter: float = option(
        0.0,
        title="Jitter",
        description="Noise on the picture within each step; the authors' is 0 or 0.0001",
        ge=0.0,
        le=0.5,
        advanced=True,
    )
    weights: str = option(
        "reddiff-prior",
        title="Weights",
        description="The small prior, or guided-diffusion's or diffusers' that you added under "
        "Models; without a GPU those take hours",
        models="superres.reddiff/prior",
        max_length=120,
        advanced=True,
    )

    @field_validator("paint")
    @classmethod
    def _colour(cls, value: str) -> str:
        if not _COLOUR.fullmatch(value):
            raise ValueError(
                "A colour is six digits: two each of red, green and blue, as in #ff00ff"
            )
        return value.lower()

    @field_validator("strokes")
    @classmethod
    def _drawable(cls, value: str) -> str:
        if not value:
            return value
        from engines.superres.reddiff.brush import checked

        return checked(value)

    def for_file(self, path: Path) -> Self:
        """With what the file says of itself; see `engines.superres.reddiff.tasks`.

        Raises:
            UserError: the file does not say what the task has to know.
        """
        if self.task == "enlarge":
            return self
        from engines.superres.reddiff.tasks import bits_of, jpeg_of

        found: dict[str, Any] = {"scale": 1.0, "long_side": None}
        if self.task == "inpaint" and self.strokes:
            from engines.superres.reddiff.brush import of_picture

            found["strokes"] = of_picture(self.strokes, path)
        if self.task == "jpeg":
            read = jpeg_of(path)
            if read is None and self.jpeg_quality is None:
                raise UserError(
                    f"{path.name} is no JPEG, so nothing in it tells how it was compressed; give "
                    "its JPEG quality"
                )
            quality, half = read or (self.jpeg_quality, True)
            found["jpeg_quality"] = self.jpeg_quality or quality
            if self.jpeg_colour == "auto":
                found["jpeg_colour"] = "half" if half else "full"
        if self.task == "dequantise" and self.bits is None:
            found["bits"] = bits_of(path)
        return self.model_copy(update=found)
