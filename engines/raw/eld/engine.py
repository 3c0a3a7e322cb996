"""`raw.eld` as the studio sees it; what it does is in `engines.raw.eld.process`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines.base import Job, MediaKind, Params, Result, UserError
from engines.media.raw_file import RAW_SUFFIXES
from engines.raw.eld.params import EldParams


class EldEngine:
    """ELD's denoiser for extreme low light; the protocol is `engines.base.Engine`."""

    id: ClassVar[str] = "raw.eld"
    title: ClassVar[str] = "ELD (extreme dark)"
    tab: ClassVar[str] = "RAW"
    summary: ClassVar[str] = (
        "For pictures of almost no light, thirty times too dark and more: it goes by the noise of "
        "your camera and by how dark the picture is"
    )
    accepts: ClassVar[tuple[MediaKind, ...]] = ("raw",)
    suffixes: ClassVar[tuple[str, ...]] = RAW_SUFFIXES
    version: ClassVar[str] = "2"
    Params: ClassVar[type[Params]] = EldParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """Denoise one RAW file; see `engines.base.Engine.run`."""
        from engines.raw.eld.process import process

        if len(inputs) != 1:
            raise UserError("ELD takes one RAW file at a time")
        return process(inputs[0], params, job, self.id, self.version)
