"""`models`: the weights that are here, those that are published, and whether ours are right."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from engines.base import UserError
from engines.weights import ModelFile, specs
from engines.weights import verify as verify_golden
from studio.commands import output, settings
from studio.config import VERSION
from studio.jobs.service import Studio
from studio.models import Models


def show(args: argparse.Namespace) -> int:
    """List bundled and added weights."""
    found = _models(args).list()
    if args.json:
        output.document(args, {"version": VERSION, "models": [_described(file) for file in found]})
        return 0
    output.table(
        [(file.id, file.state, output.size(file.bytes), file.network, file.note) for file in found]
    )
    return 0


def pull(args: argparse.Namespace) -> int:
    """Say where the authors publish their weights; no hub is asked, so nothing is fetched.

    Raises:
        UserError: there is no network of that id.
    """
    known = [spec for spec in specs() if args.network in (None, spec.id)]
    if not known:
        ids = ", ".join(spec.id for spec in specs())
        raise UserError(f"There is no network of this id; there are {ids}: {args.network}")
    if args.json:
        published = [
            {
                "network": spec.id,
                "title": spec.title,
                "source": spec.source,
                "licence": spec.licence,
            }
            for spec in known
        ]
        output.document(args, {"version": VERSION, "pulled": [], "published": published})
        return 1
    for spec in known:
        print(f"{spec.id}: {spec.title}, {spec.licence}; {spec.source}")
    print("None of them can be fetched from here: download the file, then `models add FILE`")
    return 1


def add(args: argparse.Namespace) -> int:
    """Check a checkpoint against the networks and keep a copy of it."""
    file = _models(args).add(args.file, args.name)
    if args.json:
        output.document(args, {"version": VERSION, "models": [_described(file)]})
    else:
        print(
            f"Added as {file.id} ({file.state}, {file.network}); choose it with weights={file.id}"
        )
    return 0


def remove(args: argparse.Namespace) -> int:
    """Forget added weights and delete the studio's copy."""
    _models(args).remove(args.id)
    if args.json:
        output.document(args, {"version": VERSION, "removed": [args.id]})
    else:
        print(f"Removed {args.id}")
    return 0


def check(args: argparse.Namespace) -> int:
    """Whether all weights are there, unchanged and fit for their network."""
    found = list(_models(args).check())
    if args.json:
        rows = [
            {"id": model_id, "ok": not wrong, "error": wrong or None} for model_id, wrong in found
        ]
        output.document(args, {"version": VERSION, "models": rows})
    else:
        output.table([(model_id, wrong or "in order") for model_id, wrong in found])
    return 1 if any(wrong for _, wrong in found) else 0


def verify(args: argparse.Namespace) -> int:
    """Our networks against golden files; each output has to agree to 1e-4 of its largest value."""
    rows: list[dict[str, Any]] = []
    for path in args.files:
        try:
            rows += [asdict(result) | {"error": None} for result in verify_golden(path)]
        except UserError as error:
            rows.append(
                {"file": path.name, "network": None, "output": None, "max_relative_error": None,
                 "ok": False, "error": str(error)}
            )  # fmt: skip
    if args.json:
        output.document(args, {"version": VERSION, "checks": rows})
    for row in rows if not args.json else ():
        if row["error"]:
            output.say(row["error"])
        else:
            said = "agrees" if row["ok"] else "differs"
            print(f"{row['file']} {row['output']}: {said}, {row['max_relative_error']:.2e}")
    return 0 if all(row["ok"] for row in rows) else 1


def _models(args: argparse.Namespace) -> Models:
    return Studio(settings.load(args)).models


def _described(file: ModelFile) -> dict[str, Any]:
    return file.to_dict() | {"note": file.note}
