"""`speech.storm` as the studio sees it; what it does is in `engines.speech.process`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines.base import Job, MediaKind, Params, Result, UserError
from engines.media.sound_facts import SOUND_SUFFIXES, VIDEO_SUFFIXES
from engines.speech.params import StormParams


class StormEngine:
    """StoRM: predict, then regenerate around the prediction; see `engines.base.Engine`."""

    id: ClassVar[str] = "speech.storm"
    title: ClassVar[str] = "StoRM"
    tab: ClassVar[str] = "Speech"
    summary: ClassVar[str] = "Takes noise off speech, and can rebuild what the noise covered"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("audio", "video")
    suffixes: ClassVar[tuple[str, ...]] = SOUND_SUFFIXES + VIDEO_SUFFIXES
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = StormParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """Enhance one recording; see `engines.base.Engine.run`."""
        # The page lists engines without ever loading torch.
        from engines.speech.process import process

        if len(inputs) != 1:
            raise UserError("StoRM takes one recording at a time")
        return process(inputs[0], params, job, self.id, self.version)
