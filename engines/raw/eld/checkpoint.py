"""How a file is recognised as ELD's U-Net, and what the authors' checkpoint is."""

from __future__ import annotations

from typing import Any

from engines.raw.eld.arch import PLANES, SeeInDark
from engines.weights import NetworkSpec, Shapes, no_golden, no_run


def _detect(shapes: Shapes) -> dict[str, Any] | None:
    first = shapes.get("conv1_1.weight")
    if first is None or len(first) != 4 or first[1] != PLANES or "upv6.weight" not in shapes:
        return None
    return {"nf": first[0]}


SPEC = NetworkSpec(
    id="raw.eld/unet",
    title="ELD U-Net",
    detect=_detect,
    build=lambda config: SeeInDark(**config),
    golden_config=no_golden,
    golden_run=no_run,
    expected=("conv1_1.weight", "upv6.weight", "conv9_2.weight", "conv10_1.weight"),
    official=lambda config: config == {"nf": 32},
    licence="as its authors say",
    source="the ELD authors' repository (Vandermode/ELD), a file of SonyA7S2 or another camera",
)
