"""Parameters of the quantization engines; the page's controls and the options are made of them."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from engines.base import Params, option

Bits = Literal[2, 3, 4, 8]
GroupSize = Literal[0, 32, 64, 128]
Export = Literal["auto", "compressed-tensors", "awq", "gptq", "bitsandbytes", "studio", "dense"]
Target = Literal["bits", "size", "perplexity"]


class ModelParams(Params):
    """What every engine takes: texts, export, what stays as it is."""

    export: Export = option(
        "auto",
        title="Export",
        description="File layout; auto is compressed-tensors where it can hold the method, else "
        "studio",
    )
    skip: str = option(
        "",
        title="Layers to keep",
        description="Parts of layer names that stay as they are, with commas between: o_proj, "
        "layers.0.",
        max_length=500,
    )
    evaluate: int = option(
        4096,
        title="Measure on",
        description="Tokens of held-out text for perplexity; 0 measures nothing",
        unit="tokens",
        ge=0,
        le=1_000_000,
    )
    calibration: str = option(
        "",
        title="Calibration text",
        description="A text file or a folder of them on this machine; empty takes the bundled one",
        advanced=True,
        local=True,
        max_length=1000,
    )
    samples: int = option(
        32,
        title="Calibration windows",
        description="More are slower, and steadier at few bits",
        advanced=True,
        ge=2,
        le=1024,
    )
    length: int = option(
        512,
        title="Length of a window",
        description="Of calibration and of held-out text",
        unit="tokens",
        advanced=True,
        ge=16,
        le=8192,
    )
    speed: bool = option(
        True,
        title="Measure speed",
        description="Loads both models whole at the end, if they fit into memory",
        advanced=True,
    )
    seed: int = option(
        1, title="Seed", description="The same seed gives the same model", advanced=True, ge=0,
        le=2**31 - 1,
    )  # fmt: skip


class GridParams(ModelParams):
    """Integer codes in groups, with one width for all layers or a mixture that meets a target."""

    bits: Bits = option(4, title="Bits", description="Of a code; scales come on top")
    group_size: GroupSize = option(
        128,
        title="Group size",
        description="Weights that share a scale; 0 is a whole row",
    )
    symmetric: bool = option(
        True,
        title="Symmetric",
        description="Without zero points; loads in more places, at a small loss",
    )
    target: Target = option(
        "bits",
        title="Aim at",
        description="The bits above, or a mixture of 2, 3, 4 and 8 that meets a size or a loss",
    )
    target_gb: float | None = option(
        None,
        title="Size at most",
        description="Of the whole exported model; needs Aim at: size",
        unit="GB",
        gt=0.0,
        le=10_000.0,
    )
    target_increase: float | None = option(
        None,
        title="Perplexity at most up by",
        description="On the held-out text; needs Aim at: perplexity",
        unit="%",
        gt=0.0,
        le=1000.0,
    )

    @model_validator(mode="after")
    def _complete(self) -> GridParams:
        if self.target == "size" and self.target_gb is None:
            raise ValueError("Say the size to aim at: target_gb, in GB")
        if self.target == "perplexity" and self.target_increase is None:
            raise ValueError("Say by how much perplexity may rise: target_increase, in %")
        if self.target == "perplexity" and self.evaluate == 0:
            raise ValueError("A perplexity can only be met where it is measured: raise evaluate")
        return self


class GptqParams(GridParams):
    """GPTQ's own."""

    act_order: bool = option(
        True,
        title="Important inputs first",
        description="Columns in the order of their activations' power",
        advanced=True,
    )
    damping: float = option(
        0.01,
        title="Damping",
        description="Added to the Hessian's diagonal, as a share of its mean",
        advanced=True,
        gt=0.0,
        le=1.0,
    )


class AwqParams(GridParams):
    """AWQ's own."""

    clip: bool = option(
        True,
        title="Search clipping",
        description="Ranges are narrowed where that lowers the output's error",
        advanced=True,
    )


class GwqParams(GridParams):
    """GWQ's own."""

    outliers: float = option(
        1.0,
        title="Outliers",
        description="Share of the weights, those of largest gradient, that stay in 16 bits",
        unit="%",
        ge=0.0,
        le=10.0,
    )


class AdadimParams(GridParams):
    """AdaDim's own."""

    base: Literal["rtn", "gptq"] = option(
        "gptq", title="Rounding", description="To the nearest, or with GPTQ's corrections"
    )


class FinequantParams(GridParams):
    """FineQuant's own."""

    alpha: float = option(
        0.05,
        title="Halve groups while it pays",
        description="Least share by which the range must shrink for a halved group",
        advanced=True,
        gt=0.0,
        lt=1.0,
    )


class ZeroQuantFpParams(ModelParams):
    """ZeroQuant-FP's own."""

    bits: Literal[4, 8] = option(4, title="Bits", description="4 is FP4 (E2M1), 8 is FP8 (E4M3)")
    group_size: Literal[0, 32, 64, 128, 256] = option(
        128, title="Group size", description="Weights that share a scale; 0 is a whole row"
    )
    constraint: Literal["free", "m1", "m2"] = option(
        "m2",
        title="Scales",
        description="Any; powers of two (M1); or powers of two below the row's own scale (M2)",
    )
    rank: int = option(
        8,
        title="Low-rank compensation",
        description="Columns of the thin matrices that make up for the error; 0 is none",
        ge=0,
        le=64,
    )
    activations: Literal["fp8", "int8", "none"] = option(
        "fp8",
        title="Activations",
        description="How what reaches a layer is rounded, token by token",
    )


class VptqParams(ModelParams):
    """VPTQ's own."""

    bits: Literal[2, 3, 4] = option(
        2, title="Bits", description="Of the indices a weight; codebooks come on top"
    )


class BnbParams(ModelParams):
    """bitsandbytes' own."""

    bits: Literal[4, 8] = option(
        4, title="Bits", description="4 is NF4 or FP4 in blocks of 64, 8 is INT8 in rows"
    )
    table: Literal["nf4", "fp4"] = option(
        "nf4", title="4-bit numbers", description="Even shares of a normal curve, or tiny floats"
    )
    double_quant: bool = option(
        False,
        title="Round the scales as well",
        description="4.13 bits a weight and not 4.5, at a small loss",
    )
