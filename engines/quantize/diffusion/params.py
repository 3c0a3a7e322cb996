"""Parameters of the engines for diffusion models."""

from __future__ import annotations

from typing import Literal

from engines.base import Params, option

WeightBits = Literal[2, 3, 4, 6, 8]
ActivationBits = Literal[4, 6, 8, 16]


class DiffusionParams(Params):
    """What both methods take."""

    weight_bits: WeightBits = option(
        4, title="Bits of weights", description="Of a code; the first and last layers keep 8"
    )
    activation_bits: ActivationBits = option(
        8,
        title="Bits of activations",
        description="Of what reaches a layer; 16 leaves it as it is",
    )
    export: Literal["studio", "dense"] = option(
        "studio",
        title="Export",
        description="Codes, which this studio runs; or rounded weights that diffusers loads, "
        "whose activations are not rounded",
    )
    steps: int = option(
        50, title="Sampling steps", description="Of the way from noise to picture", ge=2, le=1000
    )
    pictures: int = option(
        8,
        title="Pictures to compare",
        description="Made by both models from the same noise; errors are taken on them",
        ge=1,
        le=64,
    )
    skip: str = option(
        "",
        title="Layers to keep",
        description="Parts of layer names that stay as they are, with commas between: to_q, "
        "mid_block",
        max_length=500,
    )
    prompts: tuple[str, ...] = option(
        (),
        title="Prompts",
        description="For models that make pictures of texts: what to calibrate with, one a line",
        max_length=200,
    )
    guidance: float = option(
        7.5,
        title="Guidance",
        description="Of models that make pictures of texts",
        advanced=True,
        ge=1.0,
        le=30.0,
    )
    samples: int = option(
        256,
        title="Calibration inputs",
        description="Taken out of the sampling process; more are slower, and steadier at few bits",
        advanced=True,
        ge=8,
        le=4096,
    )
    seed: int = option(
        1, title="Seed", description="The same seed gives the same model", advanced=True, ge=0,
        le=2**31 - 1,
    )  # fmt: skip


class Ptq4dmParams(DiffusionParams):
    """PTQ4DM's own."""

    iterations: int = option(
        200,
        title="Iterations a block",
        description="How long each block's rounding is learned; 0 rounds to the nearest",
        ge=0,
        le=100_000,
    )
    mean: float = option(
        0.4,
        title="Mean time",
        description="Where in the process calibration inputs lie, from 0, the picture, to 1, noise",
        advanced=True,
        ge=0.0,
        le=1.0,
    )
    spread: float = option(
        0.4,
        title="Spread of times",
        description="Standard deviation of those places",
        advanced=True,
        gt=0.0,
        le=2.0,
    )


class EfficientDmParams(DiffusionParams):
    """EfficientDM's own."""

    iterations: int = option(
        32,
        title="Passes",
        description="Walks from noise to picture on which is learned; the paper has 160",
        ge=1,
        le=10_000,
    )
    batch: int = option(
        4, title="Pictures a pass", description="The paper has 2", advanced=True, ge=1, le=64
    )
    rank: int = option(
        32, title="Rank of adapters", description="As in the paper", advanced=True, ge=1, le=256
    )
    rate: float = option(
        1.0,
        title="Rate of adapters",
        description="Times the paper's, which suits 160 passes of 100 steps; more for fewer",
        advanced=True,
        gt=0.0,
        le=100.0,
    )
