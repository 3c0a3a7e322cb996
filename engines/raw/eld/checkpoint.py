"""How a file is recognised as ELD's U-Net or the network of ours, and what the authors' file is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from engines.raw.eld.arch import PLANES, SeeInDark
from engines.raw.eld.guided import SEEN, WideUnet
from engines.weights import NetworkSpec, Shapes, no_golden, no_run


def _detect(shapes: Shapes) -> dict[str, Any] | None:
    wide = shapes.get("conv_in.weight")
    if wide is not None and len(wide) == 4 and wide[1] == SEEN and "conv1.gamma.0.weight" in shapes:
        levels = 1 + sum(f"pool{n}.conv.weight" in shapes for n in range(1, 9))
        return {"nf": wide[0], "levels": levels, "wide": True}
    first = shapes.get("conv1_1.weight")
    if first is None or len(first) != 4 or first[1] != PLANES or "upv6.weight" not in shapes:
        return None
    return {"nf": first[0]}


def _build(config: Mapping[str, Any]) -> nn.Module:
    if config.get("wide"):
        return WideUnet(config["nf"], config["levels"])
    return SeeInDark(config["nf"])


SPEC = NetworkSpec(
    id="raw.eld/unet",
    title="ELD U-Net",
    detect=_detect,
    build=_build,
    golden_config=no_golden,
    golden_run=no_run,
    expected=("conv1_1.weight", "upv6.weight", "conv9_2.weight", "conv10_1.weight"),
    official=lambda config: config == {"nf": 32},
    licence="as its authors say",
    source="the ELD authors' repository (Vandermode/ELD), a file of SonyA7S2 or another camera",
)
