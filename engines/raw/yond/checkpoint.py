"""How a file is recognised as SNR-Net, and what the authors' checkpoint is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from engines.base import UserError
from engines.raw.yond.arch import PLANES, GuidedResUnet
from engines.weights import NetworkSpec, Shapes


def _detect(shapes: Shapes) -> dict[str, Any] | None:
    first = shapes.get("conv_in.weight")
    if first is None or len(first) != 4 or first[1] not in (PLANES, 2 * PLANES):
        return None
    levels = 1
    while f"pool{levels}.conv.weight" in shapes:
        levels += 1
    if f"conv{2 * levels}.weight" not in shapes or "conv1.gamma.0.weight" not in shapes:
        return None
    return {"nf": first[0], "levels": levels, "noise_units": first[1] == 2 * PLANES}


def _golden_config(config: Mapping[str, Any]) -> dict[str, Any]:
    if not all(config.get(flag, True) for flag in ("res", "norm", "guided")):
        raise UserError("Only the guided, residual, normalised SNR-Net is built here")
    return {"nf": config["nf"], "levels": 5, "noise_units": False}


def _golden_run(network: nn.Module, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return {"out": network(inputs["x"], inputs["sigma"])}


SPEC = NetworkSpec(
    id="raw.yond/snrnet",
    title="YOND SNR-Net",
    detect=_detect,
    build=lambda config: GuidedResUnet(**config),
    golden_config=_golden_config,
    golden_run=_golden_run,
    expected=("conv_in.weight", "conv1.gamma.0.weight", "pool1.conv.weight", "conv10.weight"),
    official=lambda config: config == {"nf": 32, "levels": 5, "noise_units": False},
    licence="as its authors say",
    source="the YOND authors' repository (fenghansen/YOND)",
)
