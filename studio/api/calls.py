"""What programs can ask for; every call takes the owner, as the studio's own calls do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool

from engines import registry
from studio.api.errors import ApiError
from studio.api.inline import is_inline, keep_inline
from studio.api.types import EngineFacts, File, JobResult, JobStatus, PresetFacts, Submitted
from studio.described import describe
from studio.jobs.requests import check_params, items_of, refuse_local
from studio.jobs.service import Studio
from studio.jobs.views import ArtifactView, JobView
from studio.presets import Preset
from studio.uploads import is_own

PRESET = "preset"  # among an engine's parameters, none of which may be called so
SESSION = "Programs"  # where their jobs are on the page
LONGEST_WAIT = 300.0  # seconds
_LOOK_EVERY = 0.3


class Calls:
    """The calls of one studio."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def engines(self, engine: str = "") -> list[EngineFacts]:
        """All engines, or one.

        Raises:
            ApiError: there is no such engine.
        """
        ids = [_known(engine)] if engine else registry.engine_ids()
        return [describe(engine_id) for engine_id in ids]

    def submit(
        self,
        owner: str,
        engine: str,
        files: Sequence[Any],
        params: Mapping[str, Any],
        seed: int | None = None,
    ) -> Submitted:
        """Queue one job a file (or one of all files, where the engine takes them together).

        Args:
            owner: whose jobs they are.
            engine: its id.
            files: what was uploaded (paths or Gradio's objects with a path); data: URIs; where the
                studio is open to this machine alone, also paths of files on it.
            params: values of the engine's parameters; what is missing has its default. `preset`
                among them names a preset whose values are taken where none is given.
            seed: of random numbers; None draws one.

        Raises:
            UserError: something of it cannot be used.
        """
        _known(engine)
        values = self._with_preset(owner, engine, params)
        if not isinstance(files, list | tuple) or not files:
            raise ApiError("invalid", "Give at least one file in a list")
        paths: list[Path] = []
        sent: set[Path] = set()
        for file in files:
            path, uploaded = self._file(owner, file)
            paths.append(path)
            sent |= {path} if uploaded else set()
        ids = self._studio.submit(
            owner, self._session(owner), engine, items_of(engine, paths), values,
            source="api", uploads=sent, seed=seed,
        )  # fmt: skip
        return {"jobs": ids}

    def status(self, owner: str, job: str) -> JobStatus:
        """Where a job stands.

        Raises:
            NotFound: there is no such job of the owner's.
        """
        found = self._studio.job(owner, job)
        waiting = self._studio.queue(owner).waiting
        return {
            "job": found.id, "engine": found.engine, "state": found.state, "done": found.done,
            "total": found.total, "text": found.text, "seconds_left": found.seconds_left,
            "error": found.error, "waiting": waiting,
        }  # fmt: skip

    def result(self, owner: str, job: str, base: str) -> JobResult:
        """What a job made, if it is done; `base` is the studio's address.

        Raises:
            NotFound: there is no such job of the owner's.
        """
        return _result(self._studio.job(owner, job), base)

    def jobs(self, owner: str, limit: int = 20) -> list[JobStatus]:
        """The owner's newest jobs, whichever door they came through."""
        found = self._studio.jobs(owner, limit=max(1, min(int(limit), 100)))
        return [self.status(owner, job.id) for job in found]

    def cancel(self, owner: str, job: str) -> JobStatus:
        """Take a waiting job out of the queue, or stop a running one within seconds.

        Raises:
            NotFound: there is no such job of the owner's.
        """
        self._studio.cancel(owner, job)
        return self.status(owner, job)

    async def run(
        self,
        owner: str,
        engine: str,
        files: Sequence[Any],
        params: Mapping[str, Any],
        seed: int | None,
        wait: float,
        base: str,
    ) -> JobResult:
        """Queue one job and wait for it, `wait` seconds at most; it goes on all the same.

        Raises:
            UserError: something cannot be used, or there is more than one file to an item.
        """
        if isinstance(files, list | tuple) and len(files) > 1 and len(
            items_of(_known(engine), [Path() for _ in files])
        ) > 1:  # fmt: skip
            raise ApiError("invalid", "Only one file can be waited for; use submit for several")
        queued = await run_in_threadpool(self.submit, owner, engine, files, params, seed)
        until = time.monotonic() + min(float(wait), LONGEST_WAIT)
        while True:
            job = await run_in_threadpool(self._studio.job, owner, queued["jobs"][0])
            if job.finished_state or time.monotonic() >= until:
                return _result(job, base)
            await asyncio.sleep(_LOOK_EVERY)

    # Presets

    def presets(self, owner: str, engine: str = "") -> list[PresetFacts]:
        """The owner's presets, of one engine where it is named.

        Raises:
            ApiError: there is no such engine.
        """
        wanted = _known(engine) if engine else ""
        found = self._studio.presets.list(owner)
        return [_preset(one) for one in found if wanted in ("", one.engine)]

    def save_preset(
        self, owner: str, engine: str, name: str, params: Mapping[str, Any]
    ) -> PresetFacts:
        """Keep values under a name, in the place of those that had it; the page offers them too.

        Raises:
            UserError: a value or the name cannot be used, or too many are kept.
        """
        _known(engine)
        values, _, _ = check_params(engine, _object(params))
        if self._studio.limits.applies(owner):
            refuse_local(engine, values)
        return _preset(self._studio.presets.save(owner, engine, _text(name), values))

    def delete_preset(self, owner: str, engine: str, name: str) -> PresetFacts:
        """Delete a preset; what was made with it stays.

        Raises:
            NotFound: the owner has none of that name.
        """
        found = self._studio.presets.find(owner, _text(name), _known(engine))
        self._studio.presets.remove(owner, found)
        return _preset(found)

    def _with_preset(self, owner: str, engine: str, params: Any) -> dict[str, Any]:
        """Values with those of the preset that they name, which come after what is given."""
        values = dict(_object(params))
        name = values.pop(PRESET, None)
        if name is None or name == "":
            return values
        preset = self._studio.presets.find(owner, _text(name), engine)
        known = registry.engine_class(engine).Params.model_fields
        return {key: value for key, value in preset.params.items() if key in known} | values

    def _session(self, owner: str) -> str:
        for one in self._studio.sessions(owner):
            if one.name == SESSION:
                return one.id
        return self._studio.new_session(owner, SESSION).id

    def _file(self, owner: str, file: Any) -> tuple[Path, bool]:
        """Where a named file is, and whether it was sent here."""
        named = file.get("path") if isinstance(file, dict) else file
        if not isinstance(named, str) or not named:
            raise ApiError("invalid", "A file is the path that an upload answered with")
        if is_inline(named):
            return keep_inline(self._studio, owner, named), True
        settings = self._studio.settings
        path = Path(named)
        if is_own(settings.temporary, owner, path):
            return path, True
        if settings.shared:
            raise ApiError("no_such_file", "There is no such upload of yours; upload it first")
        if not path.is_absolute() or not path.exists():
            raise ApiError("no_such_file", "There is no file at this path; give it from the root")
        return path.resolve(), False


def _object(params: Any) -> Mapping[str, Any]:
    if not isinstance(params, Mapping):
        raise ApiError("invalid", "Parameters are an object of names and values")
    return params


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise ApiError("invalid", "The name of a preset is a text")
    return name


def _preset(preset: Preset) -> PresetFacts:
    return {
        "engine": preset.engine, "name": preset.name, "params": preset.params,
        "starts": preset.starts,
    }  # fmt: skip


def _known(engine: Any) -> str:
    if not isinstance(engine, str) or engine not in registry.engine_ids():
        raise ApiError("no_such_engine", "There is no such engine; ask for `engines`")
    return engine


def _result(job: JobView, base: str) -> JobResult:
    return {
        "job": job.id,
        "engine": job.engine,
        "engine_version": job.engine_version,
        "state": job.state,
        "error": job.error,
        "inputs": [file.name for file in job.inputs],
        "params": dict(job.params),
        "seed": job.seed,
        "device": job.device,
        "seconds": job.seconds,
        "outputs": [_file(file, base) for file in job.outputs],
        "figures": [_file(file, base) for file in job.figures],
        "measurements": {
            name: {"value": value, "unit": unit} for name, (value, unit) in job.measurements.items()
        },
        "notes": list(job.notes),
    }


def _file(file: ArtifactView, base: str) -> File:
    place = (
        f"zip/folder/{file.id}" if file.folder else f"file/{file.id}/{quote(file.name, safe='')}"
    )
    return {
        "id": file.id, "name": file.name, "kind": file.kind, "label": file.label,
        "primary": file.primary, "bytes": file.bytes, "sha256": file.sha256,
        "url": f"{base}/studio/{place}",
    }  # fmt: skip
