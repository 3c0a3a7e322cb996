"""The super-resolution engines as the studio sees them; pictures go through `process.enlarge`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engines.base import Job, MediaKind, Params, Result, UserError
from engines.media.picture import PICTURE_SUFFIXES
from engines.media.sound_facts import VIDEO_SUFFIXES
from engines.superres.classical import ClassicalParams
from engines.superres.community.params import SpandrelParams
from engines.superres.ediffsr.params import EdiffsrParams
from engines.superres.negvsr.params import NegvsrParams
from engines.superres.reddiff.params import ReddiffParams
from engines.superres.upsr.params import UpsrParams

if TYPE_CHECKING:
    from engines.superres.upscaler import Make


class _SuperresEngine:
    """What all share; the protocol is `engines.base.Engine`."""

    id: ClassVar[str]
    title: ClassVar[str]
    tab: ClassVar[str] = "Super-resolution"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("image",)
    suffixes: ClassVar[tuple[str, ...]] = PICTURE_SUFFIXES
    version: ClassVar[str] = "1"

    def run(
        self, inputs: Sequence[Path], params: Any, job: Job, origin: tuple[int, int] = (0, 0)
    ) -> Result:
        """Enlarge one picture; see `engines.base.Engine.run`.

        `origin` is the place (y, x) of its first pixel in a larger picture that it was cut from.
        """
        # The page lists engines without ever loading torch.
        from engines.superres.process import enlarge

        if len(inputs) != 1:
            raise UserError(f"{self.title} takes one picture at a time")
        told = params.for_file(inputs[0])
        result = enlarge(inputs[0], told, job, self._make(told, job), self.id, self.version, origin)
        return replace(result, notes=(*result.notes, *self._choices(params, told)))

    def _choices(self, params: Any, told: Any) -> Sequence[str]:
        """Sentences on what was decided by the file."""
        return ()

    def _make(self, params: Any, job: Job) -> Make:
        raise NotImplementedError


class ClassicalEngine(_SuperresEngine):
    """Filters without a network."""

    id: ClassVar[str] = "superres.classical"
    title: ClassVar[str] = "Lanczos and bicubic"
    summary: ClassVar[str] = "Enlarges by a filter, without a network: the baseline, at once"
    Params: ClassVar[type[Params]] = ClassicalParams

    def _make(self, params: Any, job: Job) -> Make:
        from engines.superres.classical import choose

        return partial(choose, params)


class UpsrEngine(_SuperresEngine):
    """UPSR: a faithful estimate, and a diffusion that starts from it."""

    id: ClassVar[str] = "superres.upsr"
    title: ClassVar[str] = "UPSR"
    summary: ClassVar[str] = (
        "Enlarges photographs: a faithful estimate, or detail drawn by diffusion"
    )
    Params: ClassVar[type[Params]] = UpsrParams

    def _choices(self, params: Any, told: Any) -> Sequence[str]:
        if params.source == "auto" and told.source == "photo":
            return (
                "This JPEG is coarsely compressed, so traces of that were taken out; choose Clean "
                "to keep them",
            )
        return ()

    def _make(self, params: Any, job: Job) -> Make:
        from engines.superres.upsr.choose import choose

        return partial(choose, params, job)


class EdiffsrEngine(_SuperresEngine):
    """EDiffSR: a diffusion whose mean reverts to the plain enlargement."""

    id: ClassVar[str] = "superres.ediffsr"
    title: ClassVar[str] = "EDiffSR"
    summary: ClassVar[str] = "Draws detail in aerial pictures by diffusion; slow without a GPU"
    Params: ClassVar[type[Params]] = EdiffsrParams

    def _make(self, params: Any, job: Job) -> Make:
        from engines.superres.ediffsr.choose import choose

        return partial(choose, params, job)


class ReddiffEngine(_SuperresEngine):
    """RED-Diff: a picture that fits its measurement and looks likely to a diffusion prior."""

    id: ClassVar[str] = "superres.reddiff"
    title: ClassVar[str] = "RED-Diff"
    summary: ClassVar[str] = (
        "Undoes blur, holes, JPEG, clipping or lost levels by what is known of them; slow"
    )
    version: ClassVar[str] = "2"
    Params: ClassVar[type[Params]] = ReddiffParams

    def run(
        self,
        inputs: Sequence[Path],
        params: Any,
        job: Job,
        origin: tuple[int, int] | None = None,
    ) -> Result:
        """See `_SuperresEngine`; a picture with an origin was cut out of the marked one."""
        from engines.superres.process import enlarge
        from engines.superres.reddiff.choose import choose
        from engines.superres.reddiff.mask import marked

        if len(inputs) != 1:
            raise UserError(f"{self.title} takes one picture at a time")
        told = params.for_file(inputs[0])
        seen, opaque = None, False
        if told.task == "inpaint":
            job.progress(0, 100, "reading what is marked")
            seen, opaque = marked(inputs[0], told, origin)
        return enlarge(
            inputs[0], told, job, partial(choose, told, job, seen), self.id, self.version,
            origin or (0, 0), opaque,
        )  # fmt: skip


class SpandrelEngine(_SuperresEngine):
    """Upscalers that people have on disk."""

    id: ClassVar[str] = "superres.spandrel"
    title: ClassVar[str] = "Community upscaler"
    summary: ClassVar[str] = "Runs an upscaler file of yours: PyTorch or ncnn"
    Params: ClassVar[type[Params]] = SpandrelParams

    def _make(self, params: Any, job: Job) -> Make:
        from engines.superres.community.choose import choose

        return partial(choose, params, job)


class NegvsrEngine:
    """NegVSR: films, each frame with what its neighbours know."""

    id: ClassVar[str] = "superres.negvsr"
    title: ClassVar[str] = "NegVSR (films)"
    tab: ClassVar[str] = "Super-resolution"
    summary: ClassVar[str] = (
        "Enlarges films four times and takes noise and compression off, frame by frame with what "
        "the frames around know"
    )
    accepts: ClassVar[tuple[MediaKind, ...]] = ("video",)
    suffixes: ClassVar[tuple[str, ...]] = VIDEO_SUFFIXES
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = NegvsrParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """Enlarge one film; see `engines.base.Engine.run`."""
        from engines.superres.negvsr.process import enlarge

        if len(inputs) != 1:
            raise UserError("NegVSR takes one film at a time")
        return enlarge(inputs[0], params, job, self.id, self.version)
