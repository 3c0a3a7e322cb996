"""What goes to a worker and what comes back: plain values that any process can read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

RESUMABLE = "resumable"  # folder in the cache
PROFILE = "profile"  # kind of such an output, and where its content is in `FileFacts.facts`
UNFINISHED_KEPT = 30 * 24 * 3600.0  # seconds since somebody asked for it


@dataclass(frozen=True)
class Task:
    """One job to perform.

    Attributes:
        job_id: for logs and temporary names.
        engine: id of the engine.
        engines: engines added by `engines.registry.register` (id -> dotted path).
        inputs: absolute paths.
        params: values of the engine's `Params`.
        device: torch device string, or "auto".
        seed: seeds every generator before the engine runs.
        workspace: an empty folder.
        logs: folder for the details of unexpected errors.
        models: weights that the engine may ask for (`engines.weights.ModelFile.to_dict`).
        owner: whose job it is.
        cache: the studio's folder of what can be made again.
        cameras: name and profile of the owner's cameras, the newest first.
    """

    job_id: str
    engine: str
    engines: Mapping[str, str]
    inputs: tuple[str, ...]
    params: Mapping[str, Any]
    device: str
    seed: int
    workspace: str
    logs: str
    models: tuple[Mapping[str, Any], ...] = ()
    owner: str = ""
    cache: str = ""
    cameras: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    def resumable(self, key: str) -> Path:
        """Where this engine keeps unfinished work of that key for this owner; see `scratch`."""
        return scratch(Path(self.cache), self.owner, self.engine, key)


def scratch(cache: Path, owner: str, engine: str, key: str) -> Path:
    """Folder of an engine's unfinished work; nobody else's key leads to it, not even by guess."""
    name = hashlib.sha256("\0".join((owner, engine, key)).encode()).hexdigest()[:32]
    return cache / RESUMABLE / name


@dataclass(frozen=True)
class Progress:
    """`done` of `total`, and what is going on."""

    done: float
    total: float
    text: str


@dataclass(frozen=True)
class FileFacts:
    """A file that a job made: `name` is its name in the workspace."""

    role: str
    kind: str
    label: str
    name: str
    sha256: str
    bytes: int
    primary: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Outcome:
    """How a task ended; everything but `state` and `error` is empty unless it is done."""

    state: Literal["done", "failed", "cancelled"]
    error: str | None = None
    seconds: float = 0.0
    peak_mb: float | None = None
    device: str = ""
    engine_version: str = ""
    inputs: tuple[tuple[str, int], ...] = ()  # sha256 and bytes of each
    camera: str = ""  # that took the first of them, as far as it says
    files: tuple[FileFacts, ...] = ()
    measurements: tuple[tuple[str, float, str], ...] = ()
    notes: tuple[str, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict[str, str])
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    held: tuple[tuple[str, int, str], ...] = ()  # id, bytes, device of the weights that stay loaded
    worker: int = 0  # process id of who did it
