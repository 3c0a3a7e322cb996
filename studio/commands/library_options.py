"""Options of `jobs`, `sessions` and `clean`."""

from __future__ import annotations

import argparse
from pathlib import Path

SORTS = ("newest", "oldest", "name", "largest", "slowest", "low", "high")


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """What `jobs` can be narrowed by; the same as on the page."""
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="how many at most")
    for name, meta, what in (
        ("search", "TEXT", "words in the names of their files"),
        ("engine", "ID", "such as raw.yond, or raw for all of that kind"),
        ("kind", "KIND", "of the result: raw, image, audio, video, model, profile"),
        ("state", "STATE", "such as done or failed"),
        ("session", "NAME", "name or id of a session"),
        ("camera", "NAME", "as `--json` names it"),
        ("measured", "BOUNDS", 'measured values, such as "K > 2, perplexity < 20"'),
        ("since", "DATE", "asked for on this day or later, as 2026-11-30"),
        ("until", "DATE", "asked for on this day or earlier"),
    ):
        parser.add_argument(f"--{name}", default="", metavar=meta, help=what)
    parser.add_argument(
        "--sort", choices=SORTS, default="newest",
        help="low and high are by the first measured value",
    )  # fmt: skip
    parser.add_argument("--trash", action="store_true", help="what was deleted, instead")


def add_sessions(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """What can be done with sessions; returns the parsers that take --json."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    show = verbs.add_parser("list", help="all of them (also without a verb)")
    for one in (parser, show):
        one.add_argument("--limit", type=int, default=50, metavar="N", help="how many at most")
    rename = verbs.add_parser("rename", help="give one another name")
    duplicate = verbs.add_parser("duplicate", help="copy one with all its results")
    export = verbs.add_parser("export", help="write one with its files into a zip")
    bring = verbs.add_parser("import", help="make a session of such a zip")
    delete = verbs.add_parser("delete", help="remove one with its results and uploads, for good")
    for one in (rename, duplicate, export, delete):
        one.add_argument("session", metavar="SESSION", help="its name or id")
    rename.add_argument("name", metavar="NAME", help="what to call it")
    duplicate.add_argument("name", nargs="?", default="", metavar="NAME", help="name of the copy")
    export.add_argument(
        "--out", type=Path, metavar="FILE", help="where to; without it <name>.zip is written here"
    )
    bring.add_argument("file", type=Path, metavar="FILE", help="a zip that `export` wrote")
    bring.add_argument("--name", default="", metavar="NAME", help="what to call it instead")
    return [show, rename, duplicate, export, bring, delete]


def add_clean(parser: argparse.ArgumentParser) -> None:
    """What `clean` removes besides."""
    parser.add_argument(
        "--trash", action="store_true", help="also what was deleted and could still be brought back"
    )
