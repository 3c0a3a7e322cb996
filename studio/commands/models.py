"""`models`: the weights that are here, those that are published, and whether ours are right."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from engines.base import UserError
from engines.quantize.pull import PULLABLE, Pullable
from engines.quantize.pull import pull as fetch
from engines.weights import ModelFile, specs
from engines.weights import verify as verify_golden
from studio import language
from studio.commands import output, settings
from studio.config import VERSION
from studio.jobs.service import Studio
from studio.language import pulled_folder
from studio.models import Models


def show(args: argparse.Namespace) -> int:
    """List bundled and added weights, and the language models that can be named by their id."""
    found = _models(args).list()
    spoken = language.known(settings.load(args))
    if args.json:
        output.document(
            args,
            {
                "version": VERSION,
                "models": [_described(file) for file in found],
                "language": [model.to_dict() for model in spoken],
            },
        )
        return 0
    rows = [
        (file.id, file.state, output.size(file.bytes), file.network, file.note) for file in found
    ]
    rows += [
        (
            model.id,
            model.state,
            output.size(model.bytes),
            "language model",
            model.note or model.title,
        )
        for model in spoken
    ]
    output.table(rows)
    return 0


def pull(args: argparse.Namespace) -> int:
    """Fetch a language model; of other weights, say where their authors publish them.

    Raises:
        UserError: there is no model or network of that id, or the model cannot be fetched.
    """
    if args.network in PULLABLE:
        return _pull_language(args, PULLABLE[args.network])
    known = [spec for spec in specs() if args.network in (None, spec.id)]
    if not known:
        ids = ", ".join([*PULLABLE, *(spec.id for spec in specs())])
        raise UserError(f"There is no model or network of this id; there are {ids}: {args.network}")
    offered = [] if args.network else list(PULLABLE.values())
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
        available = [
            {"id": model.id, "title": model.title, "source": model.source, "bytes": model.bytes,
             "licence": model.licence, "note": model.note}
            for model in offered
        ]  # fmt: skip
        found = {"pulled": [], "available": available, "published": published}
        output.document(args, {"version": VERSION, **found})
        return 1
    for model in offered:
        print(
            f"{model.id}: {model.title}, {model.licence}, {output.size(model.bytes)}; "
            f"fetched by `models pull {model.id}`"
        )
    for spec in known:
        print(f"{spec.id}: {spec.title}, {spec.licence}; {spec.source}")
    print("Networks cannot be fetched from here: download the file, then `models add FILE`")
    return 1


def _pull_language(args: argparse.Namespace, model: Pullable) -> int:
    place = settings.load(args)
    with tqdm(
        total=1.0,
        file=sys.stderr,
        disable=not sys.stderr.isatty(),
        leave=False,
        bar_format="{percentage:3.0f}%|{bar:24}| {elapsed}<{remaining} {desc}",
    ) as bar:

        def step(share: float, text: str) -> None:
            bar.set_description_str(f"{text} {model.title}", refresh=False)
            bar.update(share - bar.n)

        folder, made = fetch(model, pulled_folder(place), place.cache / "pulled", step=step)
    if args.json:
        found = {"id": model.id, "title": model.title, "path": str(folder), "new": made}
        output.document(args, {"version": VERSION, "pulled": [found], "published": []})
    else:
        print(f"{model.title} is in {folder}" if made else f"It is there already: {folder}")
        print(model.note)
    return 0


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
    """Forget added weights, or a pulled language model, and delete the studio's copy."""
    if not language.remove(settings.load(args), args.id):
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
