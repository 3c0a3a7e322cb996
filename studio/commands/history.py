"""`jobs` and `clean`: what the database and the studio's folder hold."""

from __future__ import annotations

import argparse
from datetime import date, datetime, time, timedelta
from typing import Any

from filelock import FileLock, Timeout

from engines.base import UserError
from studio.commands import output, sessions, settings
from studio.config import LOCAL, VERSION
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from studio.library.service import Library
from studio.library.wanted import Wanted
from studio.workspace import tree_bytes


def jobs(args: argparse.Namespace) -> int:
    """Jobs of the person at this machine, by default the newest."""
    studio = Studio(settings.load(args))
    wanted = Wanted.of({
        "search": args.search, "engine": args.engine, "kind": args.kind, "state": args.state,
        "session": sessions.find(studio, args.session).id if args.session else "",
        "camera": args.camera, "measured": args.measured, "sort": args.sort, "trash": args.trash,
        "since": _midnight(args.since), "until": _midnight(args.until, timedelta(days=1)),
    })  # fmt: skip
    found = Library(studio).find(LOCAL, wanted, max(1, args.limit)).jobs
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


def clean(args: argparse.Namespace) -> int:
    """Say what takes how much space, and free what can be made again.

    Raises:
        UserError: the studio is open, so that its temporary files are in use.
    """
    studio = Studio(settings.load(args))
    home = studio.settings.home
    try:
        with FileLock(studio.settings.runner_lock, timeout=0):
            before = tree_bytes(studio.settings.outputs) + tree_bytes(studio.settings.uploads)
            library = Library(studio)
            library.empty(LOCAL) if args.trash else library.sweep()
            freed = before + studio.clean()
            freed -= tree_bytes(studio.settings.outputs) + tree_bytes(studio.settings.uploads)
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
    print("`sessions delete` removes results, `models remove` weights, `clean --trash` the trash")
    return 0


def _midnight(day: str, more: timedelta = timedelta()) -> datetime | None:
    """The beginning of a day on this machine's clock.

    Raises:
        UserError: it is no date.
    """
    if not day:
        return None
    try:
        return (datetime.combine(date.fromisoformat(day), time()) + more).astimezone()
    except ValueError as error:
        raise UserError(f"A date is written as 2026-11-30: {day}") from error


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
        "camera": view.camera,
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
