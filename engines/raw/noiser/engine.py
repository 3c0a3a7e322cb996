"""`raw.noiser` as the studio sees it; what it does is in `engines.raw.noiser.process`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines.base import Job, MediaKind, Params, Result, UserError
from engines.media.picture import PICTURE_SUFFIXES
from engines.media.raw_file import RAW_SUFFIXES
from engines.raw.noiser.params import NoiserParams


class NoiserEngine:
    """NoiSER, brightening learned from noise; the protocol is `engines.base.Engine`."""

    id: ClassVar[str] = "raw.noiser"
    title: ClassVar[str] = "NoiSER"
    tab: ClassVar[str] = "RAW"
    summary: ClassVar[str] = "Brightens dark RAW files and photos; RAW files are denoised first"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("raw", "image")
    suffixes: ClassVar[tuple[str, ...]] = (*RAW_SUFFIXES, *PICTURE_SUFFIXES)
    version: ClassVar[str] = "2"
    Params: ClassVar[type[Params]] = NoiserParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """Brighten one picture; see `engines.base.Engine.run`."""
        # The page lists engines without ever loading torch.
        from engines.raw.noiser.process import brighten

        if len(inputs) != 1:
            raise UserError("NoiSER takes one picture at a time")
        return brighten(inputs[0], params, job, self.id, self.version)

    @staticmethod
    def gives(_params: NoiserParams) -> Sequence[MediaKind]:
        """See `engines.base.gives`."""
        return ("image",)
