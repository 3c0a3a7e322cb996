"""`docs`: what keeps the documents true, for who works on the studio."""

from __future__ import annotations

import argparse

from engines.base import UserError
from studio.commands import output
from studio.docs import charts, tables


def write_tables(_args: argparse.Namespace) -> int:
    """Fill the tables of README.md and docs/ from docs/figures/, and draw the charts."""
    for page in tables.pages():
        before = page.read_text(encoding="utf-8")
        after = tables.filled(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            output.say(f"Written: {page.relative_to(tables.ROOT)}")
    for path, draw in charts.CHARTS.items():
        draw().save(path)
    return 0


def take_pictures(args: argparse.Namespace) -> int:
    """Take the pictures in docs/ from a studio that is started for it."""
    try:
        from studio.docs import pictures
    except ImportError as error:
        raise UserError("Pictures need playwright and a Chromium") from error
    for path in pictures.take(args.only):
        output.say(f"Written: {path.relative_to(tables.ROOT)}")
    return 0


def write_catalogue(_args: argparse.Namespace) -> int:
    """Write down which networks and training recipes there are, for the Models page."""
    from studio import catalogue

    catalogue.FILE.write_text(catalogue.found().to_json(), encoding="utf-8")
    output.say(f"Written: {catalogue.FILE.relative_to(tables.ROOT)}")
    return 0
