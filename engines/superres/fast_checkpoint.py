"""How a file is recognised as the small fidelity network of this project."""

from __future__ import annotations

import math
from typing import Any

from engines.superres.fast import FastNet
from engines.weights import NetworkSpec, Shapes, no_golden, no_run


def _detect(shapes: Shapes) -> dict[str, Any] | None:
    base, head = shapes.get("base.weight"), shapes.get("head.weight")
    if base is None or head is None or base[1:] != (3, 5, 5) or head[1:] != (3, 3, 3):
        return None
    blocks = 0
    while f"body.{blocks}.second.weight" in shapes:
        blocks += 1
    return {"scale": math.isqrt(base[0] // 3), "channels": head[0], "blocks": blocks}


SPEC = NetworkSpec(
    id="superres.upsr/fast",
    title="Fast upscaler",
    detect=_detect,
    build=lambda config: FastNet(**config),
    golden_config=no_golden,
    golden_run=no_run,
    expected=("base.weight", "head.weight", "body.0.first.weight", "tail.weight"),
    official=lambda _config: False,
    licence="Apache-2.0",
    source="trained here by the recipes fast-x2, fast-x4 and fast-x4-photo",
    variant=lambda config: f"{config['scale']}x",
)
