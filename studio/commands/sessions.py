"""`sessions`: collections of jobs, listed, renamed, copied, exported, imported, deleted."""

from __future__ import annotations

import argparse
import os
import secrets
from pathlib import Path
from typing import Any

from engines.base import UserError
from studio.commands import output, settings
from studio.config import LOCAL, VERSION
from studio.jobs.service import Studio
from studio.jobs.views import SessionView
from studio.library.pack import pack
from studio.library.unpack import duplicate_session, import_session
from studio.workspace import MARK, free_name


def show(args: argparse.Namespace) -> int:
    """The sessions of the person at this machine, the one used last first."""
    found = Studio(settings.load(args)).sessions(LOCAL)[: args.limit]
    if args.json:
        listed = [_session(view) for view in found]
        output.document(args, {"version": VERSION, "sessions": listed})
        return 0
    output.table(
        [
            (output.local_time(view.updated), f"{view.jobs} jobs", view.id[:8], view.name)
            for view in found
        ]
    )
    return 0


def rename(args: argparse.Namespace) -> int:
    """Give a session another name."""
    studio = Studio(settings.load(args))
    chosen = find(studio, args.session)
    studio.rename_session(LOCAL, chosen.id, args.name)
    return _answer(args, studio, chosen.id, "is the name of the session now")


def duplicate(args: argparse.Namespace) -> int:
    """Copy a session with its results."""
    studio = Studio(settings.load(args))
    made = duplicate_session(studio, LOCAL, find(studio, args.session).id, args.name.strip())
    return _answer(args, studio, made.id, "holds the copy")


def export(args: argparse.Namespace) -> int:
    """Write a session into a zip, under a temporary name first.

    Raises:
        UserError: the file is there already, or cannot be written.
    """
    studio = Studio(settings.load(args))
    packed = pack(studio, LOCAL, find(studio, args.session).id)
    target: Path = args.out or free_name(Path(), packed.file_name, set())
    if target.exists():
        raise UserError(f"{target} is there already; name another file, or remove it")
    partial = target.with_name(f"{MARK}{secrets.token_hex(4)}.zip")
    try:
        with partial.open("wb") as file:
            for piece in packed.stream():
                file.write(piece)
        os.replace(partial, target)
    except OSError as error:
        raise UserError(f"{target} could not be written ({error.strerror})") from error
    finally:
        partial.unlink(missing_ok=True)
    for name in packed.missing:
        output.say(f"{output.one_line(name)} was moved or deleted, so it is left out")
    if args.json:
        output.document(args, {**_session(packed.session), "file": str(target.absolute())})
    else:
        print(f"{target}: {len(packed.manifest.jobs)} jobs, {output.size(target.stat().st_size)}")
    return 0


def bring(args: argparse.Namespace) -> int:
    """Make a session of a zip.

    Raises:
        UserError: there is no such file, or it is no session.
    """
    if not args.file.is_file():
        raise UserError(f"There is no file {args.file}; check the path")
    studio = Studio(settings.load(args))
    made = import_session(studio, LOCAL, args.file, args.name.strip())
    return _answer(args, studio, made.id, "was imported")


def delete(args: argparse.Namespace) -> int:
    """Remove a session with its results and uploads."""
    studio = Studio(settings.load(args))
    chosen = find(studio, args.session)
    studio.delete_session(LOCAL, chosen.id)
    if args.json:
        output.document(args, _session(chosen))
    else:
        print(f"{chosen.name} with {chosen.jobs} jobs was deleted")
    return 0


def find(studio: Studio, wanted: str) -> SessionView:
    """A session by its name, its id or the beginning of its id.

    Raises:
        UserError: there is none, or several are called so.
    """
    known = studio.sessions(LOCAL)
    found = [one for one in known if wanted in (one.id, one.name)]
    if not found and len(wanted) >= 4:
        found = [one for one in known if one.id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(one.id[:8] for one in found)
        raise UserError(f"Several sessions are called {wanted}; say which by its id: {ids}")
    raise UserError(f"There is no session {wanted}; `sessions` lists them")


def _answer(args: argparse.Namespace, studio: Studio, session_id: str, what: str) -> int:
    view = next(one for one in studio.sessions(LOCAL) if one.id == session_id)
    if args.json:
        output.document(args, _session(view))
    else:
        print(f"{view.name} {what}")
    return 0


def _session(view: SessionView) -> dict[str, Any]:
    return {
        "id": view.id,
        "name": view.name,
        "created": output.iso_time(view.created),
        "updated": output.iso_time(view.updated),
        "jobs": view.jobs,
    }
