"""`bench load`: many visitors at once, and a queue whose studio is killed in the middle.

Twenty visitors, each a client of its own over HTTP, send files, run, cancel and reload against a
real studio for five minutes; what each gets back is compared with what it sent. Then 500 jobs are
queued and the studio is killed (SIGKILL) three times before they are done. Afterwards every row is
compared with the files. `STUDIO_BENCH_VISITORS`, `STUDIO_BENCH_SECONDS`, `STUDIO_BENCH_JOBS` and
`STUDIO_BENCH_KILLS` change these numbers.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections import defaultdict
from contextlib import closing
from datetime import datetime
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil

from studio.bench.echo import ENGINE as ECHO
from studio.bench.process import StudioProcess
from studio.bench.sound import problems
from studio.bench.visitor import Seen, Visitor
from studio.config import KEPT

TITLE = "Many visitors at once, and a studio killed over a full queue"
_MB = 2**20


def run() -> list[dict[str, Any]]:
    """Two rows: the visitors, and the queue."""
    return [visitors(_number("VISITORS", 20), _number("SECONDS", 300)),
            killed_queue(_number("JOBS", 500), _number("KILLS", 3))]  # fmt: skip


def _number(name: str, default: int) -> int:
    return int(os.environ.get(f"STUDIO_BENCH_{name}", default))


def visitors(count: int, seconds: float) -> dict[str, Any]:
    """`count` visitors for so long."""
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        studio = StudioProcess(home, shared=True)
        seen = Seen()
        try:
            studio.start()
            begun = time.monotonic()
            crowd = [
                Visitor(number, studio.address, begun + seconds, seen) for number in range(count)
            ]
            for one in crowd:
                one.start()
            held = _memory(studio, crowd, begun, seconds)
            for one in crowd:
                one.join(timeout=300)
                if one.is_alive():
                    seen.errors.append(f"{one.name} still waits for what it asked for")
        finally:
            studio.stop()
        for line in (seen.errors + seen.mixed)[:20]:
            sys.stderr.write(f"{line}\n")
        return {
            "what": f"{count} visitors, {seconds:g} s",
            "jobs": seen.submitted,
            **_ended(home),
            "asked_to_stop": seen.asked_to_stop,
            "fetched": seen.fetched,
            "reloads": seen.reloads,
            "errors": len(seen.errors),
            "mixed_up": len(seen.mixed),
            **_waiting(home),
            **held,
            "untrue": _said(problems(home)),
        }


def killed_queue(jobs: int, kills: int) -> dict[str, Any]:
    """A batch during which the studio is killed so often."""
    with TemporaryDirectory() as folder:
        home, inputs = Path(folder) / "home", Path(folder) / "inputs"
        inputs.mkdir()
        paths = [inputs / f"{number}.txt" for number in range(jobs)]
        for path in paths:
            path.write_text(path.stem)
        studio = StudioProcess(home)
        begun = time.monotonic()
        try:
            studio.start()
            with httpx.Client(base_url=studio.address, timeout=300) as http:
                data = [ECHO, [str(path) for path in paths], {"seconds": 0.05}, 1]
                http.post("/gradio_api/call/submit", json={"data": data}).raise_for_status()
            for kill in range(1, kills + 1):
                _until_done(home, jobs * kill // (kills + 1))
                studio.kill()
                studio.start()
            _until_done(home, jobs)
        finally:
            studio.stop()
        once = _once(home, paths)
        return {
            "what": f"{jobs} jobs, {kills} kills",
            "jobs": jobs,
            **_ended(home),
            "seconds": round(time.monotonic() - begun, 1),
            "kills": kills,
            "done_once": once,
            "untrue": _said(problems(home)),
        }


def _memory(
    studio: StudioProcess, crowd: list[Visitor], begun: float, seconds: float
) -> dict[str, Any]:
    """Memory of page and worker in the second quarter of the time and in the last."""
    samples: dict[str, dict[str, list[float]]] = {
        who: {"early": [], "late": []} for who in ("page", "worker")
    }
    while time.monotonic() - begun < seconds and any(one.is_alive() for one in crowd):
        time.sleep(min(1.0, seconds / 20))
        share = (time.monotonic() - begun) / seconds
        when = "early" if 0.25 <= share < 0.5 else "late" if share >= 0.75 else ""
        if when:
            try:
                samples["page"][when].append(studio.process.memory_info().rss / _MB)
                for worker in studio.workers():
                    samples["worker"][when].append(worker.memory_info().rss / _MB)
            except psutil.Error:
                continue
    return {
        f"{who}_{when}_mb": round(median(values)) if values else None
        for who, found in samples.items()
        for when, values in found.items()
    }


def _ended(home: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(home / "studio.db")) as plain:
        query = "SELECT state, count(*) FROM jobs WHERE owner != ? GROUP BY state"
        found = dict(plain.execute(query, (KEPT,)).fetchall())  # those of the examples aside
    return {state: found.get(state, 0) for state in ("done", "cancelled", "failed")}


def _waiting(home: Path) -> dict[str, Any]:
    """How long a job waited until it began, and how much longer for whom it was worst."""
    waits: dict[str, list[float]] = defaultdict(list)
    with closing(sqlite3.connect(home / "studio.db")) as plain:
        query = "SELECT owner, created, started FROM jobs WHERE started IS NOT NULL AND owner != ?"
        for owner, created, started in plain.execute(query, (KEPT,)):
            waited = datetime.fromisoformat(started) - datetime.fromisoformat(created)
            waits[owner].append(waited.total_seconds())
    everybody = sorted(wait for found in waits.values() for wait in found)
    means = [mean(found) for found in waits.values()]
    if not everybody:
        return {}
    return {
        "wait_median_s": round(median(everybody), 2),
        "wait_p95_s": round(everybody[int(0.95 * (len(everybody) - 1))], 2),
        "worst_to_median": round(max(means) / max(median(means), 1e-3), 2),
    }


def _until_done(home: Path, jobs: int) -> None:
    deadline = time.monotonic() + 3600.0
    with closing(sqlite3.connect(home / "studio.db", timeout=30)) as plain:
        while time.monotonic() < deadline:
            query = "SELECT count(*) FROM jobs WHERE state IN ('done', 'failed', 'cancelled')"
            if plain.execute(query).fetchone()[0] >= jobs:
                return
            time.sleep(0.05)
    raise RuntimeError("the queue stands still")


def _once(home: Path, paths: list[Path]) -> int:
    """How many inputs have exactly one job that is done, with the one file that is right."""
    made: dict[str, list[tuple[str, str]]] = defaultdict(list)
    with closing(sqlite3.connect(home / "studio.db")) as plain:
        query = (
            "SELECT i.path, j.state, o.path FROM jobs j "
            "JOIN artifacts i ON i.job_number = j.number AND i.role = 'input' "
            "LEFT JOIN artifacts o ON o.job_number = j.number AND o.role = 'output'"
        )
        for source, state, output in plain.execute(query):
            made[source].append((state, output))
    return sum(
        len(made[str(path)]) == 1
        and made[str(path)][0][0] == "done"
        and Path(made[str(path)][0][1]).read_text() == path.stem
        and len(list(Path(made[str(path)][0][1]).parent.iterdir())) == 1
        for path in paths
    )


def _said(found: list[str]) -> int:
    for line in found[:20]:
        sys.stderr.write(f"{line}\n")
    return len(found)
