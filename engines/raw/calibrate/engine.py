"""`raw.calibrate` as the studio sees it; what it does is in `engines.raw.calibrate.process`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines.base import Job, MediaKind, Params, Result
from engines.media.raw_file import RAW_SUFFIXES
from engines.raw.calibrate.params import CalibrateParams


class CalibrateEngine:
    """A camera's noise from dark and flat frames; the protocol is `engines.base.Engine`."""

    id: ClassVar[str] = "raw.calibrate"
    title: ClassVar[str] = "Calibrate camera"
    tab: ClassVar[str] = "RAW"
    summary: ClassVar[str] = (
        "Measures your camera from dark frames (cap on) and pairs of evenly lit frames; add them "
        "all at once, they are sorted by themselves"
    )
    accepts: ClassVar[tuple[MediaKind, ...]] = ("raw",)
    suffixes: ClassVar[tuple[str, ...]] = (*RAW_SUFFIXES, ".zip", ".json")
    version: ClassVar[str] = "1"
    together: ClassVar[bool] = True
    Params: ClassVar[type[Params]] = CalibrateParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """Measure one camera; see `engines.base.Engine.run`."""
        from engines.raw.calibrate.process import process

        return process(inputs, params, job)

    @staticmethod
    def gives(_params: Any) -> Sequence[MediaKind]:
        """See `engines.base.gives`."""
        return ("profile",)
