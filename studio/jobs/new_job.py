"""A job before it has a row, and the row that it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.schema import ArtifactRow, JobRow, search_words
from studio.jobs.views import first_name
from studio.workspace import printable


@dataclass(frozen=True)
class NewJob:
    """What `Store.add` needs to know of one job."""

    engine: str
    engine_version: str
    params: Mapping[str, Any]
    inputs: Sequence[Path]
    kind: str
    source: str = "page"
    out_dir: Path | None = None
    batch: str | None = None
    device: str = "auto"
    seed: int = 0
    recipe: Mapping[str, Any] | None = None  # what a step knows of its chain


def job_row(owner: str, session_id: str, job_id: str, job: NewJob) -> JobRow:
    """A queued job with its inputs, to be added in a transaction.

    A later step of a recipe, which has none yet, is called after the file that its chain begins
    with.
    """
    names = [path.name for path in job.inputs] or [str((job.recipe or {}).get("source", ""))]
    row = JobRow(
        id=job_id,
        session_id=session_id,
        owner=owner,
        batch=job.batch,
        engine=job.engine,
        engine_version=job.engine_version,
        params=dict(job.params),
        device=job.device,
        seed=job.seed,
        out_dir=str(job.out_dir) if job.out_dir else None,
        source=job.source,
        recipe=dict(job.recipe) if job.recipe else None,
        name=first_name([printable(name) for name in names]),
        words=search_words(names),
        kind=job.kind,
    )
    row.artifacts = [
        ArtifactRow(owner=owner, role="input", kind=job.kind, path=str(path),
                    position=n, bytes=path.stat().st_size if path.is_file() else 0)
        for n, path in enumerate(job.inputs)
    ]  # fmt: skip
    return row
