"""The speech engines as the studio sees them; what they do is in `engines.speech.process`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines.base import Job, MediaKind, Params, Result, UserError
from engines.media.sound_facts import SOUND_SUFFIXES, VIDEO_SUFFIXES
from engines.speech.params import SgmseParams, StormParams


class _SpeechEngine:
    """What both share; the protocol is `engines.base.Engine`."""

    id: ClassVar[str]
    title: ClassVar[str]
    tab: ClassVar[str] = "Speech"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("audio", "video")
    suffixes: ClassVar[tuple[str, ...]] = SOUND_SUFFIXES + VIDEO_SUFFIXES
    version: ClassVar[str] = "1"

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """Enhance one recording; see `engines.base.Engine.run`."""
        # The page lists engines without ever loading torch.
        from engines.speech.process import process

        if len(inputs) != 1:
            raise UserError(f"{self.title} takes one recording at a time")
        return process(inputs[0], params, job, self.id, self.version)


class StormEngine(_SpeechEngine):
    """StoRM: predict, then regenerate around the prediction."""

    id: ClassVar[str] = "speech.storm"
    title: ClassVar[str] = "StoRM"
    summary: ClassVar[str] = "Takes noise off speech, and can rebuild what the noise covered"
    Params: ClassVar[type[Params]] = StormParams


class SgmseEngine(_SpeechEngine):
    """SGMSE+: speech drawn by a diffusion that ends in the recording."""

    id: ClassVar[str] = "speech.sgmse"
    title: ClassVar[str] = "SGMSE+"
    summary: ClassVar[str] = "Rebuilds speech from noise by diffusion; slow without a GPU"
    Params: ClassVar[type[Params]] = SgmseParams
