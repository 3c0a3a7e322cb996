"""How commands answer: one JSON document, or lines for a person; the rest on standard error."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any


def document(args: argparse.Namespace, value: Mapping[str, Any]) -> None:
    """Print the one document that `--json` promises."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:  # a file's name may hold bytes that are no text, and a terminal may know few letters
        for encoding in ("utf-8", args.out_stream.encoding or "utf-8"):
            text.encode(encoding)
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2, allow_nan=False)
    print(text, file=args.out_stream, flush=True)


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with their columns aligned; the last column is left as long as it is."""
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]).rstrip())


def say(text: str) -> None:
    """One line beside the answer: progress, warnings, failures."""
    print(text, file=sys.stderr, flush=True)


def one_line(name: str) -> str:
    """A file's name for a line of text, without what would break the line or the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def size(number: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def local_time(moment: datetime | None) -> str:
    """A stored time on this machine's clock; empty where there is none."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M")


def iso_time(moment: datetime | None) -> str | None:
    """A stored time for a document."""
    return None if moment is None else moment.isoformat(timespec="seconds")
