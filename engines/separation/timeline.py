"""A file of when each sound is heard, for editors and for scripts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from engines.separation.activity import Found
from engines.separation.params import Timeline

_SUFFIXES = {"audacity": ".labels.txt", "csv": ".timeline.csv", "json": ".timeline.json"}


def write_timeline(
    workspace: Path, stem: str, kind: Timeline, queries: Sequence[str], found: Sequence[Found]
) -> Path:
    """Write the intervals of every sound; returns the file.

    Audacity's label tracks are lines of start, end and text with tabs between them (File, Import,
    Labels); times are in seconds everywhere.

    Raises:
        OSError: the disk is full.
    """
    rows = [
        (start, end, query)
        for query, one in zip(queries, found, strict=True)
        for start, end in one.intervals
    ]
    if kind == "audacity":
        text = "".join(f"{start:.3f}\t{end:.3f}\t{query}\n" for start, end, query in sorted(rows))
    elif kind == "csv":
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("sound", "start_s", "end_s"))
        writer.writerows((_cell(query), f"{start:.3f}", f"{end:.3f}") for start, end, query in rows)
        text = lines.getvalue()
    else:
        sounds = [
            {
                "sound": query,
                "found": one.there,
                "presence": round(one.presence, 4),
                "share": round(one.share, 4),
                "intervals_s": [[round(start, 3), round(end, 3)] for start, end in one.intervals],
            }
            for query, one in zip(queries, found, strict=True)
        ]
        text = json.dumps({"sounds": sounds}, indent=1, ensure_ascii=False) + "\n"
    path = workspace / f"{stem}{_SUFFIXES[kind]}"
    path.write_text(text, encoding="utf-8")
    return path


def _cell(query: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{query}" if query[:1] in "=+-@" else query
