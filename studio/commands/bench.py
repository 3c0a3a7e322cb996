"""`bench NAME`: measure, and print the figures with what they were measured on."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from engines.base import UserError
from studio.bench import BENCHES, load_bench
from studio.commands import output
from studio.config import VERSION

SETTINGS = "STUDIO_BENCH_"  # environment that makes a bench shorter, or tells it where things are


def bench(args: argparse.Namespace) -> int:
    """Run one bench, or list them."""
    if args.name is None:
        titles = {name: load_bench(name).TITLE for name in BENCHES}
        if args.json:
            output.document(args, {"benches": titles})
        else:
            output.table(list(titles.items()))
        return 0
    found = load_bench(args.name)
    output.say(f"{found.TITLE}: measuring")
    try:
        rows = found.run()
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        package = {"skimage": "scikit-image"}.get(package, package)
        raise UserError(
            f"This bench needs {package}; install it: {sys.executable} -m pip install {package}"
        ) from error
    if args.json:
        facts = {
            "bench": args.name,
            "version": VERSION,
            "date": datetime.now(UTC).date().isoformat(),
            "machine": _machine(),
            "settings": {k: v for k, v in sorted(os.environ.items()) if k.startswith(SETTINGS)},
        }
        output.document(args, facts | {"rows": rows})
    else:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        cells = [[_cell(row.get(column)) for column in columns] for row in rows]
        output.table([columns, *cells])
    return 0


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _machine() -> dict[str, Any]:
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": version("torch"),
    }
