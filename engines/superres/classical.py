"""`superres.classical`: filters alone, the honest baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engines.base import option
from engines.superres.params import SuperresParams

if TYPE_CHECKING:
    from engines.superres.upscaler import Method, Steps


class ClassicalParams(SuperresParams):
    """Which filter."""

    method: Literal["lanczos", "bicubic"] = option(
        "lanczos",
        title="Filter",
        description="Lanczos is sharper, bicubic has fainter rings beside edges",
    )


def choose(params: ClassicalParams, _factor: float, _steps: Steps) -> Method:
    """No network; the filter does it at once."""
    from engines.superres.upscaler import Method

    return Method(params.method, (), filter=params.method)
