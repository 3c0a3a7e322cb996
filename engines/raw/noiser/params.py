"""Parameters of `raw.noiser`; controls and command-line options are made of them."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from engines import options
from engines.base import Params, option
from engines.raw.yond.params import NETWORKS

Form = Literal["same", "tiff", "png", "jpeg", "webp"]


class LookParams(Params):
    """How bright and in which way; everything has an automatic default."""

    brightness: float = option(
        0.42,
        title="Brightness",
        description="Mean of the result, as encoded; half is what the plain network makes",
        ge=0.25,
        le=0.60,
    )
    highlights: float = option(
        0.7,
        title="Keep highlights",
        description="How far the brightest parts, rather than the mean, decide the brightness",
        ge=0.0,
        le=1.0,
    )
    natural: float = option(
        0.8,
        title="Natural tones",
        description="1 brightens as a longer exposure does; 0 has the network's own contrast",
        ge=0.0,
        le=1.0,
    )
    contrast: float = option(
        1.0,
        title="Contrast",
        description="Around the mean",
        ge=0.7,
        le=1.3,
    )
    colour: float = option(
        1.0,
        title="Keep colours",
        description="1 keeps every hue; 0 has the network's, which are grey on the whole",
        ge=0.0,
        le=1.0,
    )
    strength: float = option(
        1.0,
        title="Strength",
        description="Share of the brightening; 0 changes nothing",
        ge=0.0,
        le=1.0,
        advanced=True,
    )
    local: bool = option(
        True,
        title="Keep local contrast",
        description="The network's contrast goes by regions, so that texture stays as it is",
        advanced=True,
    )
    method: Literal["natural", "paper"] = option(
        "natural",
        title="Method",
        description="Paper is the plain network, without brightness, colours and highlights kept",
        advanced=True,
    )


class NoiserParams(LookParams):
    """All of `raw.noiser`."""

    denoise: Literal["auto", "on", "off"] = option(
        "auto",
        title="Denoise RAW first",
        description="By YOND, before demosaicing; auto does so for every RAW file",
    )
    cleaner: Literal["best", "fast"] = option(
        "best",
        title="Denoiser",
        description="YOND's quality; fast is a network of a quarter the work",
    )
    output: Form = option(
        "same",
        title="Format",
        description="Same is the input's, TIFF with 16 bits for a RAW file",
    )
    depth: Literal["same", "8", "16"] = options.picture_depth()
    quality: int = options.picture_quality()
    metadata: bool = options.metadata()
    weights: str = options.weights(
        "noiser",
        "The bundled network, or one that you trained here",
        "raw.noiser/net",
    )
    denoiser: str = option(
        "",
        title="Denoiser's weights",
        description="Empty goes by the denoiser; or weights of YOND that you added under Models",
        models="raw.yond/snrnet",
        max_length=120,
        advanced=True,
    )

    @property
    def raw_denoiser(self) -> str:
        """Id of the weights that denoise a RAW file, "" where it is not to be denoised."""
        return "" if self.denoise == "off" else self.denoiser or NETWORKS[self.cleaner]

    @model_validator(mode="after")
    def _deep_enough(self) -> NoiserParams:
        if self.depth == "16" and self.output in ("jpeg", "webp"):
            raise ValueError("JPEG and WebP hold 8 bits a sample; choose PNG or TIFF for 16")
        return self
