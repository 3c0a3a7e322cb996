"""`raw.yond` as the studio sees it; what it does is in `engines.raw.yond.process`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines.base import Job, MediaKind, Params, Result, UserError
from engines.media.raw_file import RAW_SUFFIXES
from engines.raw.yond.params import CleanParams, YondParams


class YondEngine:
    """YOND, blind raw denoising; the protocol is `engines.base.Engine`."""

    id: ClassVar[str] = "raw.yond"
    title: ClassVar[str] = "YOND"
    tab: ClassVar[str] = "RAW"
    summary: ClassVar[str] = "Measures the noise of each file and removes it before demosaicing"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("raw",)
    suffixes: ClassVar[tuple[str, ...]] = RAW_SUFFIXES
    version: ClassVar[str] = "2"
    Params: ClassVar[type[Params]] = YondParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """Denoise one RAW file; see `engines.base.Engine.run`."""
        # The page lists engines without ever loading torch.
        from engines.raw.yond.process import process

        if len(inputs) != 1:
            raise UserError("YOND takes one RAW file at a time")
        return process(inputs[0], params, job, self.id, self.version)

    @staticmethod
    def gives(params: CleanParams) -> Sequence[MediaKind]:
        """See `engines.base.gives`."""
        return tuple("image" if form in ("tiff", "jpeg") else "raw" for form in params.output)
