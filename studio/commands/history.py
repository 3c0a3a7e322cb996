"""`jobs`, `sessions` and `clean`: what the database and the studio's folder hold."""

from __future__ import annotations

import argparse
from typing import Any

from filelock import FileLock, Timeout

from engines.base import UserError
from studio.commands import output, settings
from studio.config import VERSION
from studio.jobs.service import LOCAL, Studio
from studio.jobs.views import JobView
from studio.workspace import tree_bytes


def jobs(args: argparse.Namespace) -> int:
    """The newest jobs of the person at this machine, newest first."""
    studio = Studio(settings.load(args))
    found = studio.jobs(LOCAL, limit=args.limit)
    if args.json:
        output.document(args, {"version": VERSION, "jobs": [_job(view) for view in found]})
        return 0
    output.table(
        [
            (
                output.local_time(view.created),
                view.engine,
                view.state,
                "" if view.seconds is None else f"{view.seconds:.1f} s",
                " ".join(file.name for file in view.inputs),
                view.error or " ".join(str(file.path) for file in view.outputs),
            )
            for view in found
        ]
    )
    return 0


def sessions(args: argparse.Namespace) -> int:
    """The sessions of the person at this machine, the one used last first."""
    studio = Studio(settings.load(args))
    found = studio.sessions(LOCAL)[: args.limit]
    if args.json:
        listed = [
            {
                "id": view.id,
                "name": view.name,
                "created": output.iso_time(view.created),
                "updated": output.iso_time(view.updated),
                "jobs": view.jobs,
            }
            for view in found
        ]
        output.document(args, {"version": VERSION, "sessions": listed})
        return 0
    output.table(
        [(output.local_time(view.updated), f"{view.jobs} jobs", view.name) for view in found]
    )
    return 0


def clean(args: argparse.Namespace) -> int:
    """Say what takes how much space, and free what can be made again.

    Raises:
        UserError: the studio is open, so that its temporary files are in use.
    """
    studio = Studio(settings.load(args))
    home = studio.settings.home
    try:
        with FileLock(studio.settings.runner_lock, timeout=0):
            freed = studio.clean()
    except Timeout as error:
        raise UserError("The studio is open and uses its files; close it and clean then") from error
    kept = {
        "outputs": tree_bytes(studio.settings.outputs),
        "uploads": tree_bytes(studio.settings.uploads),
        "models": tree_bytes(studio.settings.models),
        "cache": tree_bytes(studio.settings.cache),
        "database": sum(file.stat().st_size for file in home.glob("studio*.db*")),
    }
    if args.json:
        output.document(args, {"home": str(home), "freed_bytes": freed, "kept_bytes": kept})
        return 0
    print(f"Freed {output.size(freed)}; {home} still holds")
    output.table([(name, output.size(number)) for name, number in kept.items()])
    print("Sessions and their results are deleted on the page; `models remove` deletes weights")
    return 0


def _job(view: JobView) -> dict[str, Any]:
    return {
        "id": view.id,
        "session": view.session_id,
        "engine": view.engine,
        "engine_version": view.engine_version,
        "state": view.state,
        "error": view.error,
        "source": view.source,
        "created": output.iso_time(view.created),
        "finished": output.iso_time(view.finished),
        "seconds": view.seconds,
        "peak_mb": view.peak_mb,
        "device": view.device,
        "seed": view.seed,
        "params": dict(view.params),
        "inputs": [{"path": str(file.path), "sha256": file.sha256} for file in view.inputs],
        "outputs": [
            {
                "path": str(file.path),
                "kind": file.kind,
                "label": file.label,
                "primary": file.primary,
                "sha256": file.sha256,
                "missing": file.missing,
            }
            for file in view.outputs
        ],
        "measurements": {
            k: {"value": v, "unit": unit} for k, (v, unit) in view.measurements.items()
        },
        "notes": list(view.notes),
        "models": dict(view.models),
        "versions": dict(view.versions),
    }
