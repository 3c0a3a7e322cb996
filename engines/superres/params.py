"""Parameters that all super-resolution engines take; controls and options are made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import field_validator

from engines import options
from engines.base import Params, option

Form = Literal["same", "png", "tiff", "jpeg", "webp"]
Depth = Literal["same", "8", "16"]
Colour = Literal["auto", "wavelet", "mean", "off"]
_FIELDS = ("{name}", "{model}", "{scale}")


class SuperresParams(Params):
    """Everything has an automatic default."""

    scale: float = options.scale(8.0)
    long_side: int | None = option(
        None,
        title="Longer side",
        description="Size of the result instead of a scale; empty goes by the scale",
        unit="pixels",
        ge=16,
        le=100_000,
    )
    strength: float = options.lanczos_strength()
    output: Form = option(
        "same",
        title="Format",
        description="File that is written; same is the input's, PNG where that cannot be written",
    )
    depth: Depth = options.picture_depth()
    quality: int = options.picture_quality()
    metadata: bool = options.metadata()
    colour: Colour = option(
        "auto",
        title="Hold colours",
        description="To the input's, in coarse structures or in the mean; auto is for diffusion",
        advanced=True,
    )
    seed: int = options.seed()
    tile: int = options.picture_tile(4096)
    name: str = option(
        "{name}-{model}-{scale}",
        title="File name",
        description="{name} is the input's, {model} what enlarged it, {scale} such as 4x",
        min_length=1,
        max_length=120,
        advanced=True,
    )

    def for_file(self, _path: Path) -> Self:
        """The same with every choice made that depends on the file."""
        return self

    @field_validator("tile")
    @classmethod
    def _no_tiny_tile(cls, value: int) -> int:
        if 0 < value < 32:
            raise ValueError("Tiles take 32 pixels or more, or 0 for an automatic size")
        return value

    @field_validator("name")
    @classmethod
    def _known_fields(cls, value: str) -> str:
        rest = value
        for known in _FIELDS:
            rest = rest.replace(known, "")
        if any(letter in rest for letter in "{}/\\\0"):
            raise ValueError(f"A file name holds letters and {', '.join(_FIELDS)}, and no folders")
        return value
