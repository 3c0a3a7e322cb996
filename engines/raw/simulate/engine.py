"""`raw.simulate` as the studio sees it; what it does is in `engines.raw.simulate.process`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines.base import Job, MediaKind, Params, Result, UserError
from engines.media.raw_file import RAW_SUFFIXES
from engines.raw.simulate.params import SimulateParams


class SimulateEngine:
    """Noise of a known camera on a clean RAW; the protocol is `engines.base.Engine`."""

    id: ClassVar[str] = "raw.simulate"
    title: ClassVar[str] = "Simulate noise"
    tab: ClassVar[str] = "RAW"
    summary: ClassVar[str] = "Makes a noisy RAW from a clean one with a camera's own noise (ELD)"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("raw",)
    suffixes: ClassVar[tuple[str, ...]] = RAW_SUFFIXES
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = SimulateParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """Make one noisy RAW; see `engines.base.Engine.run`."""
        from engines.raw.simulate.process import process

        if len(inputs) != 1:
            raise UserError("Noise is drawn for one RAW file at a time")
        return process(inputs[0], params, job, self.id, self.version)
