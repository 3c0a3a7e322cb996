"""How a file is recognised as a noise proxy."""

from __future__ import annotations

from typing import Any

from engines.raw.pnnp.arch import NoiseProxy
from engines.weights import NetworkSpec, Shapes, no_golden, no_run


def _detect(shapes: Shapes) -> dict[str, Any] | None:
    enter, settings = shapes.get("pixel.enter.weight"), shapes.get("octave")
    if enter is None or settings is None or "row.leave.weight" not in shapes:
        return None
    blocks = sum(key.startswith("pixel.blocks.") and key.endswith("one.weight") for key in shapes)
    return {"settings": settings[0], "width": enter[0], "blocks": blocks}


SPEC = NetworkSpec(
    id="raw.simulate/pnnp",
    title="PNNP",
    detect=_detect,
    build=lambda config: NoiseProxy(**config),
    golden_config=no_golden,
    golden_run=no_run,
    expected=("pixel.enter.weight", "row.leave.weight", "octave"),
    official=lambda config: False,
    licence="Apache-2.0",
    source="trained here: `train pnnp --data FOLDER`; the authors published no weights of it",
)
