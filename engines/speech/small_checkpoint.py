"""How a file is recognised as one of the small networks of this project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from engines.base import UserError
from engines.speech.small import (
    BRIDGE_MAPS,
    PREDICTIVE_MAPS,
    BridgeNet,
    SmallStorm,
    stem_inputs,
)
from engines.weights import NetworkSpec, Shapes


def _size(shapes: Shapes, trunk: str, maps: int) -> dict[str, Any] | None:
    """Widths and blocks of the U-Net under `trunk`, if it takes so many maps."""
    stem = shapes.get(trunk + "stem.weight")
    if stem is None or len(stem) != 4 or stem[1] != stem_inputs(maps):
        return None
    widths, blocks = [stem[0]], []
    while (deeper := shapes.get(f"{trunk}down.{len(widths) - 1}.weight")) is not None:
        widths.append(deeper[0])
    for level in range(len(widths)):
        count = 0
        while f"{trunk}encode.{level}.{count}.first.weight" in shapes:
            count += 1
        blocks.append(count)
    return {"widths": widths, "blocks": blocks}


def _detect_storm(shapes: Shapes) -> dict[str, Any] | None:
    size = _size(shapes, "denoiser.unet.", PREDICTIVE_MAPS)
    return size and size | {"refiner": "refiner.unet.stem.weight" in shapes}


def _no_golden(_config: Mapping[str, Any]) -> dict[str, Any]:
    raise UserError("This network is this project's own; there are no golden numbers of it")


def _no_run(_network: nn.Module, _inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    raise UserError("This network is this project's own; there are no golden numbers of it")


STORM = NetworkSpec(
    id="speech.storm/small",
    title="small StoRM",
    detect=_detect_storm,
    build=lambda config: SmallStorm(**config),
    golden_config=_no_golden,
    golden_run=_no_run,
    expected=("denoiser.unet.stem.weight", "denoiser.unet.head.weight"),
    official=lambda _config: False,
    licence="Apache-2.0",
    source="the recipe storm-small of this project",
)

SGMSE = NetworkSpec(
    id="speech.sgmse/small",
    title="small SGMSE+",
    detect=lambda shapes: _size(shapes, "unet.", BRIDGE_MAPS),
    build=lambda config: BridgeNet(**config),
    golden_config=_no_golden,
    golden_run=_no_run,
    expected=("unet.stem.weight", "unet.head.weight"),
    official=lambda _config: False,
    licence="Apache-2.0",
    source="the recipe sgmse-small of this project",
)
