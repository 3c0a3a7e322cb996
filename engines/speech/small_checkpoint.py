"""How a file is recognised as one of the small networks of this project."""

from __future__ import annotations

from typing import Any

from engines.speech.small import (
    BRIDGE_MAPS,
    PREDICTIVE_MAPS,
    BridgeNet,
    SmallStorm,
    stem_inputs,
)
from engines.weights import NetworkSpec, Shapes, no_golden, no_run


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


STORM = NetworkSpec(
    id="speech.storm/small",
    title="small StoRM",
    detect=_detect_storm,
    build=lambda config: SmallStorm(**config),
    golden_config=no_golden,
    golden_run=no_run,
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
    golden_config=no_golden,
    golden_run=no_run,
    expected=("unet.stem.weight", "unet.head.weight"),
    official=lambda _config: False,
    licence="Apache-2.0",
    source="the recipe sgmse-small of this project",
)
