"""`raw.stack` as the studio sees it: several shots of one scene denoised as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines.base import Job, MediaKind, Params, Result
from engines.media.raw_file import RAW_SUFFIXES
from engines.raw.yond.engine import YondEngine
from engines.raw.yond.params import CleanParams


class StackEngine:
    """YOND on the mean of a burst, or on pixel shift; the protocol is `engines.base.Engine`."""

    id: ClassVar[str] = "raw.stack"
    title: ClassVar[str] = "Stack shots"
    tab: ClassVar[str] = "RAW"
    summary: ClassVar[str] = (
        "Makes one picture of several shots from a tripod, or of the shots of pixel shift, and "
        "denoises it by YOND; shots from the hand are refused, as they would be blurred"
    )
    accepts: ClassVar[tuple[MediaKind, ...]] = ("raw",)
    suffixes: ClassVar[tuple[str, ...]] = RAW_SUFFIXES
    version: ClassVar[str] = "1"
    together: ClassVar[bool] = True
    Params: ClassVar[type[Params]] = CleanParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """Denoise all files as one; see `engines.base.Engine.run`."""
        from engines.raw.yond.process import process_stack

        return process_stack(inputs, params, job, self.id, self.version)

    gives = YondEngine.gives
