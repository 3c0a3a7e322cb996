"""The separation engine as the studio sees it; what it does is in `engines.separation.process`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines.base import Job, MediaKind, Params, Result, UserError
from engines.media.sound_facts import SOUND_SUFFIXES, VIDEO_SUFFIXES
from engines.separation.params import ClipSepParams

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")


class ClipSepEngine:
    """CLIPSep (Dong et al., ICLR 2023): the sound that words, or a picture, name."""

    id: ClassVar[str] = "separation.clipsep"
    title: ClassVar[str] = "CLIPSep"
    tab: ClassVar[str] = "Separation"
    summary: ClassVar[str] = (
        "Gives every sound that you name a track of its own; the bundled network is small, knows "
        "about 140 everyday sounds, and parts them roughly"
    )
    accepts: ClassVar[tuple[MediaKind, ...]] = ("audio", "video")
    suffixes: ClassVar[tuple[str, ...]] = SOUND_SUFFIXES + VIDEO_SUFFIXES
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = ClipSepParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """Separate one recording; see `engines.base.Engine.run`.

        Behind the recording pictures may follow, each of something that sounds in it.
        """
        # The page lists engines without ever loading torch.
        from engines.separation.process import process

        if not inputs or any(path.suffix.lower() not in PICTURE_SUFFIXES for path in inputs[1:]):
            raise UserError(f"{self.title} takes one recording at a time")
        return process(inputs, params, job, self.id, self.version)
