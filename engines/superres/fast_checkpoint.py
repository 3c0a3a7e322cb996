"""How a file is recognised as the small fidelity network of this project."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from engines.base import UserError
from engines.superres.fast import FastNet
from engines.weights import NetworkSpec, Shapes


def _detect(shapes: Shapes) -> dict[str, Any] | None:
    base, head = shapes.get("base.weight"), shapes.get("head.weight")
    if base is None or head is None or base[1:] != (3, 5, 5) or head[1:] != (3, 3, 3):
        return None
    blocks = 0
    while f"body.{blocks}.second.weight" in shapes:
        blocks += 1
    return {"scale": math.isqrt(base[0] // 3), "channels": head[0], "blocks": blocks}


def _no_golden(_config: Mapping[str, Any]) -> dict[str, Any]:
    raise UserError("This network is this project's own; there are no golden numbers of it")


def _no_run(_network: nn.Module, _inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    raise UserError("This network is this project's own; there are no golden numbers of it")


SPEC = NetworkSpec(
    id="superres.upsr/fast",
    title="Fast upscaler",
    detect=_detect,
    build=lambda config: FastNet(**config),
    golden_config=_no_golden,
    golden_run=_no_run,
    expected=("base.weight", "head.weight", "body.0.first.weight", "tail.weight"),
    official=lambda _config: False,
    licence="Apache-2.0",
    source="trained here by the recipes fast-x2, fast-x4 and fast-x4-photo",
    variant=lambda config: f"{config['scale']}x",
)
