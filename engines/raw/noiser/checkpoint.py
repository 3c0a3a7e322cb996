"""How a file is recognised as NoiSER's network."""

from __future__ import annotations

from typing import Any

from engines.raw.noiser.arch import NoiserNet
from engines.weights import NetworkSpec, Shapes, no_golden, no_run


def _detect(shapes: Shapes) -> dict[str, Any] | None:
    first, last = shapes.get("first.weight"), shapes.get("last.weight")
    if first is None or last is None or len(shapes) != 4:
        return None
    width = first[0]
    if first != (width, 3, 3, 3) or last != (3, width, 3, 3):
        return None
    return {"width": width}


SPEC = NetworkSpec(
    id="raw.noiser/net",
    title="NoiSER",
    detect=_detect,
    build=lambda config: NoiserNet(**config),
    golden_config=no_golden,
    golden_run=no_run,
    expected=("first.weight", "first.bias", "last.weight", "last.bias"),
    official=lambda _config: False,
    licence="",
    source="",
)
