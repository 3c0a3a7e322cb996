"""Performing one task in this process: the `Job` that an engine sees, and every way it can end."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import re
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import psutil
from pydantic import ValidationError

from engines import registry, weights
from engines.base import Cancelled, Engine, Result, UserError
from studio import folders
from studio.config import VERSION
from studio.jobs.camera import camera_of
from studio.jobs.peak import forget_peak, peak_mb
from studio.jobs.task import PROFILE, FileFacts, Outcome, Progress, Task, scratch
from studio.jobs.unfinished import claim
from studio.unpack import no_model, unpacked
from studio.workspace import printable

_MODEL_MEMORY_SHARE = 0.25  # of this machine's memory, for weights kept between jobs
_REPORT_EVERY = 0.1  # seconds
_QUOTED = 120  # characters of what somebody sent
_OUT_OF_MEMORY = re.compile("out of memory|allocate memory", re.IGNORECASE)  # as torch says it


class ModelCache:
    """Loaded networks by file hash and device, least recently used dropped first."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[tuple[str, str], weights.LoadedModel] = OrderedDict()
        self._limit = int(psutil.virtual_memory().total * _MODEL_MEMORY_SHARE)
        self._last: type[Engine] | None = None

    def load(self, file: weights.ModelFile, device: str) -> weights.LoadedModel:
        """The network of `file` on `device`."""
        key = (file.sha256, device)
        if key not in self._loaded:
            self._loaded[key] = weights.load(file, device)
            while len(self._loaded) > 1 and self._bytes() > self._limit:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def make_room(self, engine: type[Engine]) -> None:
        """Before another engine runs, the last one lets go of what it kept between its own jobs.

        An engine that keeps something has a static method `forget` for this.
        """
        last, self._last = self._last, engine
        if last is not None and last is not engine:
            getattr(last, "forget", lambda: None)()

    def held(self) -> tuple[tuple[str, int, str], ...]:
        """Id, bytes and device of what is loaded."""
        return tuple(
            (model.file.id, model.file.bytes, device) for (_, device), model in self._loaded.items()
        )

    def _bytes(self) -> int:
        return sum(model.file.bytes for model in self._loaded.values())


class TaskJob:
    """The `engines.base.Job` of one task."""

    def __init__(
        self,
        task: Task,
        device: str,
        cache: ModelCache,
        report: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._task = task
        self._device = device
        self._cache = cache
        self._report = report
        self._cancelled = cancelled
        self._reported = 0.0

    @property
    def device(self) -> str:
        """See `engines.base.Job`."""
        return self._device

    @property
    def workspace(self) -> Path:
        """See `engines.base.Job`."""
        return Path(self._task.workspace)

    def progress(self, done: float, total: float, text: str) -> None:
        """See `engines.base.Job`; several calls within a tenth of a second are one."""
        now = time.monotonic()
        if now - self._reported >= _REPORT_EVERY or done >= total:
            self._reported = now
            self._report(Progress(done, total, text[:300]))

    def check_cancelled(self) -> None:
        """See `engines.base.Job`."""
        if self._cancelled():
            raise Cancelled

    def unpacked(self, archive: Path, sha256: str) -> Path:
        """The model folder in a zip of that hash; kept for this owner's next job on it."""
        cache = Path(self._task.cache)
        name = scratch(cache, self._task.owner, "", sha256).name
        return unpacked(
            archive, name, cache, self.check_cancelled,
            lambda done, total: self.progress(0.0, 1.0, f"unpacking {done / total:.0%}"),
        )  # fmt: skip

    def resumable(self, key: str) -> Path:
        """See `engines.base.Job`."""
        folder = self._task.resumable(key)
        folder.mkdir(parents=True, exist_ok=True)
        claim(folder, self._task.job_id)
        os.utime(folder)  # its age is the time since somebody asked for it
        return folder

    def cameras(self) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """See `engines.base.KnowsCameras`."""
        return self._task.cameras

    def log(self, text: str) -> None:
        """See `engines.base.Job`; lines go to the studio's standard error."""
        sys.stderr.write(f"{self._task.engine}: {text}\n")

    def load(self, model_id: str) -> weights.LoadedModel:
        """See `engines.base.Job`."""
        for values in self._task.models:
            if values["id"] == model_id:
                return self._cache.load(weights.ModelFile.from_dict(values), self._device)
        raise UserError(
            f"The weights {model_id} are not here; add them under Models, or choose others"
        )


def perform(
    task: Task,
    cache: ModelCache,
    report: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> Outcome:
    """Run a task to its end; never raises an `Exception`."""
    begun = time.monotonic()
    forget_peak()
    try:
        outcome = _run(task, cache, report, cancelled)
    except Cancelled:
        outcome = Outcome("cancelled")
    except UserError as error:
        outcome = Outcome("failed", str(error))
    except ValidationError as error:
        outcome = Outcome("failed", validation_sentence(error))
    except Exception as error:
        outcome = Outcome("failed", _sentence(error, task))
    peak = peak_mb()
    measured = outcome.measurements
    if outcome.state == "done" and peak is not None:
        measured = (*measured, ("peak_mb", peak, "MB"))
    return replace(
        outcome, seconds=time.monotonic() - begun, peak_mb=peak, measurements=measured,
        held=cache.held(), worker=os.getpid(),
    )  # fmt: skip


def _run(
    task: Task,
    cache: ModelCache,
    report: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> Outcome:
    for engine_id, dotted in task.engines.items():
        registry.register(engine_id, dotted)
    engine_type = registry.engine_class(task.engine)
    params = engine_type.Params.model_validate(dict(task.params))
    paths = [Path(path) for path in task.inputs]
    device = _device(task.device)
    job = TaskJob(task, device, cache, report, cancelled)
    whole = "model" in engine_type.accepts
    hashes = [_identity(path, whole, job) for path in paths]
    cache.make_room(engine_type)
    forget_peak()  # what was let go of is not this job's
    _seed(task.seed)
    job.check_cancelled()
    result = engine_type().run(_opened(paths, hashes, job) if whole else paths, params, job)
    job.check_cancelled()
    if [_identity(path, whole, job) for path in paths] != hashes:
        raise UserError(f"{paths[0].name} was changed while it was being read; run it again")
    return Outcome(
        "done",
        device=device,
        engine_version=engine_type.version,
        inputs=tuple(hashes),
        camera=camera_of(paths[0]) if paths else "",
        files=tuple(_files(result, job)),
        measurements=tuple(
            (name, float(m.value), m.unit)
            for name, m in result.measurements.items()
            if math.isfinite(m.value)
        ),
        notes=tuple(result.notes),
        models=dict(result.models),
        versions=_versions(),
    )


def _opened(paths: list[Path], hashes: list[tuple[str, int]], job: TaskJob) -> list[Path]:
    """Model folders as they are, and those that came as a zip out of it."""
    return [
        job.unpacked(path, sha256) if path.is_file() and path.suffix.lower() == ".zip" else path
        for path, (sha256, _) in zip(paths, hashes, strict=True)
    ]


def _files(result: Result, job: TaskJob) -> list[FileFacts]:
    found: list[FileFacts] = []
    names: set[str] = set()

    def add(
        role: str, kind: str, label: str, path: Path, primary: bool = False, **facts: Any
    ) -> None:
        if path.parent != job.workspace:
            raise ValueError(f"{path} lies outside the job's workspace")
        if path.name in names:  # an output may go to another folder, away from the page
            raise ValueError(f"{path} is named twice in the result")
        names.add(path.name)
        if role == "output" and path.is_dir():
            sha256, size = folders.content(path, job.check_cancelled)
            facts["folder"] = True
        else:
            sha256, size = weights.sha256_of(path), path.stat().st_size
        found.append(FileFacts(role, kind, label, path.name, sha256, size, primary, facts))

    for output in result.outputs:
        kept = {PROFILE: _profile(output.path)} if output.kind == PROFILE else {}
        add("output", output.kind, output.label, output.path, output.primary, **kept)
    for figure in result.figures:
        add("figure", "image", figure.label, figure.path, alt=figure.alt, chart=figure.chart)
    for pair in result.comparisons:
        add("before", pair.kind, pair.label, pair.before)
        add("after", pair.kind, pair.label, pair.after)
    for track in result.tracks:
        # JSON has no infinity, which is the loudness of silence.
        loudness = track.loudness if math.isfinite(track.loudness) else None
        add("track", "audio", track.label, track.sound, loudness=loudness)
        add(
            "spectrogram", "image", track.label, track.spectrogram,
            marks=list(track.marks), spans=list(track.spans),
        )  # fmt: skip
    if result.thumbnail is not None:
        add("thumbnail", "image", "", result.thumbnail)
    return found


def _profile(path: Path) -> dict[str, Any]:
    found: Any = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no profile")
    return cast("dict[str, Any]", found)


def _identity(path: Path, whole: bool, job: TaskJob) -> tuple[str, int]:
    """(sha256, bytes) of an input; `whole` is an engine's that takes a model's folder as one."""
    name = printable(path.name)
    try:
        if whole and path.is_dir():
            if not folders.is_model(path):
                raise UserError(no_model(name))
            return folders.identity(path, job.check_cancelled)
        if path.is_dir():
            raise UserError(f"{name} is a folder; choose the files in it")
        if path.exists() and not path.is_file():  # a pipe or a device may never end
            raise UserError(f"{name} is no file; choose a file")
        return weights.sha256_of(path), path.stat().st_size
    except FileNotFoundError as error:
        raise UserError(f"There is no file {name} here any more; choose it again") from error
    except PermissionError as error:
        raise UserError(f"{name} may not be read; change its permissions") from error
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror}); copy it elsewhere") from error


def _device(wanted: str) -> str:
    """Resolve "auto"; torch is only asked where it is loaded anyway."""
    if wanted == "cpu":
        return wanted
    import torch

    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("This machine has no CUDA device that can be used; choose cpu")
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise UserError("This machine has no Apple GPU that can be used; choose cpu")
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _seed(seed: int) -> None:
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]


def _versions() -> dict[str, str]:
    found = {"noise-studio": VERSION, "python": sys.version.split()[0]}
    for package in ("torch", "rawpy", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def validation_sentence(error: ValidationError) -> str:
    """The first thing that pydantic finds wrong, as one sentence."""
    first: Any = error.errors()[0]
    name = _cut(".".join(str(part) for part in first["loc"]))
    message = str(first["msg"]).removeprefix("Value error, ")
    if not name:
        return message
    if first["type"] == "extra_forbidden":
        return f"There is no parameter {name}; `engines` lists those that exist"
    return f"{name}: {message[0].lower()}{message[1:]}, got {_cut(repr(first['input']))}"


def _cut(text: str) -> str:
    """What somebody sent, as much of it as a sentence can hold, in a line."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"


def _sentence(error: Exception, task: Task) -> str:
    reasons = {one.errno for one in _chain(error) if isinstance(one, OSError)}
    if reasons & {errno.ENOSPC, errno.EDQUOT}:
        return "The disk is full; free some space and run it again"
    if errno.EFBIG in reasons:
        return "The disk takes no file of this size; choose a folder on another one"
    if any(isinstance(one, RecursionError) for one in _chain(error)):
        return "This file is nested too deeply to be read; take another copy of it"
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
        return "There was not enough memory; choose a smaller tile, or close other programs"
    log = Path(task.logs) / f"{task.job_id}.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        pass
    return (
        f"Something unexpected went wrong ({type(error).__name__}); "
        f"the details are in cache/logs/{log.name} of the studio's folder"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it: libraries wrap what the system told them."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
