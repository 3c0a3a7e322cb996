"""How a file is recognised as the small StoRM networks of this project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from engines.base import UserError
from engines.speech.small import SmallStorm
from engines.weights import NetworkSpec, Shapes

_TRUNK = "denoiser.unet."


def _detect(shapes: Shapes) -> dict[str, Any] | None:
    first = shapes.get(_TRUNK + "stem.weight")
    if first is None or len(first) != 4:
        return None
    widths, blocks = [first[0]], []
    while (deeper := shapes.get(f"{_TRUNK}down.{len(widths) - 1}.weight")) is not None:
        widths.append(deeper[0])
    for level in range(len(widths)):
        count = 0
        while f"{_TRUNK}encode.{level}.{count}.first.weight" in shapes:
            count += 1
        blocks.append(count)
    return {"widths": widths, "blocks": blocks, "refiner": "refiner.unet.stem.weight" in shapes}


def _no_golden(_config: Mapping[str, Any]) -> dict[str, Any]:
    raise UserError("This network is this project's own; there are no golden numbers of it")


def _no_run(_network: nn.Module, _inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    raise UserError("This network is this project's own; there are no golden numbers of it")


def _build(config: Mapping[str, Any]) -> nn.Module:
    return SmallStorm(config["widths"], config["blocks"], refiner=config["refiner"])


SPEC = NetworkSpec(
    id="speech.storm/small",
    title="small StoRM",
    detect=_detect,
    build=_build,
    golden_config=_no_golden,
    golden_run=_no_run,
    expected=(_TRUNK + "stem.weight", _TRUNK + "head.weight", _TRUNK + "condition.0.weight"),
    official=lambda _config: False,
    licence="Apache-2.0",
    source="the recipe storm-small of this project",
)
