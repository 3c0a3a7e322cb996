"""Holds visitors' jobs to their limits: how large a file may be, and how long a job may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from engines import registry
from engines.base import UserError
from studio.config import KEPT, LOCAL, Settings
from studio.jobs.executor import Executor
from studio.jobs.task import Outcome, Progress, Task
from studio.reader import FileReader, Look
from studio.workspace import printable

_MEASURED = {"raw", "image", "audio", "video"}


class BoundedExecutor:
    """Lets another executor do what is within the limits.

    Headers are read in a process of its own (`FileReader`), since a damaged file may end the
    library that opens it; one that cannot be read is left for the engine to explain.
    """

    def __init__(self, executor: Executor, settings: Settings) -> None:
        self._executor = executor
        self._settings = settings
        self._reader = FileReader(measure, kept=1000)

    def run(
        self, task: Task, report: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> Outcome:
        """See `Executor`."""
        settings = self._settings
        if not settings.shared or task.owner in (LOCAL, KEPT):
            return self._executor.run(task, report, cancelled)
        refusal = self._too_large(task)
        if refusal:
            return Outcome("failed", refusal)
        ends = time.monotonic() + 60 * settings.max_job_minutes
        over = False

        def stop() -> bool:
            nonlocal over
            over = bool(settings.max_job_minutes) and time.monotonic() > ends
            return over or cancelled()

        outcome = self._executor.run(task, report, stop)
        if outcome.state == "cancelled" and over:
            return replace(
                outcome, state="failed",
                error=f"A job may take {settings.max_job_minutes:g} minutes here, and this one "
                "needs longer; choose a faster method or a smaller file",
            )  # fmt: skip
        return outcome

    def slots(self) -> int:
        """See `Executor`."""
        return self._executor.slots()

    def warm_up(self) -> None:
        """See `Executor`."""
        self._executor.warm_up()

    def close(self) -> None:
        """See `Executor`."""
        self._executor.close()

    def _too_large(self, task: Task) -> str:
        """Why one of a task's files is too much for a visitor, or ""."""
        most, longest = self._settings.max_megapixels, self._settings.max_media_minutes
        accepts = registry.engine_class(task.engine).accepts
        if not (most or longest) or _MEASURED.isdisjoint(accepts):
            return ""
        for path in map(Path, task.inputs):
            if not path.is_file():
                continue
            found, name = self._reader.wait(path).more, printable(path.name)
            if most and found.get("megapixels", 0.0) > most:
                return (
                    f"{name} has {found['megapixels']:.0f} megapixels, and {most:g} can be "
                    "processed here; make it smaller, or run Noise Studio on your own machine"
                )
            if longest and found.get("minutes", 0.0) > longest:
                return (
                    f"{name} lasts {found['minutes']:.0f} minutes, and {longest:g} can be "
                    "processed here; cut it, or run Noise Studio on your own machine"
                )
        return ""


def measure(path: Path) -> Look:
    """How large a picture is and how long a sound lasts, by its header alone.

    Raises:
        UserError: it cannot be read.
    """
    from engines.media import picture, raw_file, sound_facts, sound_read

    suffix = path.suffix.lower()
    if suffix in picture.PICTURE_SUFFIXES:
        found = picture.read_facts(path)
        return Look(more={"megapixels": found.width * found.height / 1e6})
    if suffix in raw_file.RAW_SUFFIXES:
        return Look(more={"megapixels": _raw_pixels(path) / 1e6})
    if suffix in sound_facts.VIDEO_SUFFIXES:
        return Look(more={"minutes": _film_seconds(path) / 60})
    if suffix in sound_facts.SOUND_SUFFIXES:
        sound = sound_read.read_facts(path)
        return Look(more={"minutes": sound.seconds / 60})
    return Look()


def _film_seconds(path: Path) -> float:
    """Length of a film, of which picture and sound may have different ones, or one be missing."""
    from engines.media.sound_read import read_facts
    from engines.media.video_facts import read_video_facts

    found: list[float] = []
    for read in (read_video_facts, read_facts):
        with suppress(UserError):
            found.append(read(path).seconds)
    return max(found, default=0.0)


def _raw_pixels(path: Path) -> int:
    import rawpy

    with rawpy.imread(str(path)) as raw:  # reads the header; samples only when they are asked for
        return raw.sizes.raw_width * raw.sizes.raw_height
