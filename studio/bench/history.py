"""`bench history`: how quickly the page answers with a long history.

A home is filled with 500 and with 10,000 finished jobs, each with files and measurements. Timed
are the page itself over HTTP and what the server makes of one look at the History tab (the queue,
the header and fifty entries), the work behind every refresh.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from sqlalchemy import insert, select

from db.database import open_database
from db.schema import ArtifactRow, JobRow, MeasurementRow, new_id, now
from studio.config import Settings
from studio.jobs.service import LOCAL, Studio

TITLE = "The page with a long history"
SIZES = (500, 10_000)
_TIMES = 9


def run() -> list[dict[str, Any]]:
    """One row a number of jobs."""
    return [_measure(size) for size in SIZES]


def _measure(size: int) -> dict[str, Any]:
    # The page is imported here, so that listing the benches does not load it.
    import gradio as gr

    from studio.app import open_page
    from studio.panels.header import HeaderPanel
    from studio.panels.history import HistoryPanel
    from studio.panels.queue import QueuePanel
    from studio.scene import Scene, View

    with TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), executor="inline", port=7900)
        studio = Studio(settings)
        session = studio.new_session(LOCAL)
        _fill(settings, session.id, size)
        blocks, address = open_page(studio)
        with gr.Blocks():
            panels = [QueuePanel(), HistoryPanel(), HeaderPanel()]

        def look() -> None:
            scene = Scene(studio, LOCAL, session, View(tab="history"))
            for panel in panels:
                panel.html(scene)

        def page() -> None:
            with urlopen(address) as answer:  # noqa: S310 - our own server on this machine
                answer.read()

        row = {
            "jobs": size,
            "page_ms": _median_ms(page),
            "look_ms": _median_ms(look),
        }
        blocks.close(verbose=False)
        return row


def _median_ms(action: Callable[[], None]) -> float:
    action()
    spent: list[float] = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        action()
        spent.append(time.perf_counter() - begun)
    return round(1000 * median(spent), 1)


def _fill(settings: Settings, session_id: str, size: int) -> None:
    folder = settings.outputs / session_id / "job"
    folder.mkdir(parents=True)
    files = [folder / f"{name}.jpg" for name in ("thumbnail", "before", "after", "out")]
    for file in files:
        file.write_bytes(b"x")
    with open_database(settings.url).begin() as session:
        session.execute(
            insert(JobRow),
            [
                {"id": new_id(), "session_id": session_id, "owner": LOCAL, "engine": "raw.yond",
                 "params": {"strength": 1.0}, "state": "done", "started": now(),
                 "finished": now(), "seconds": 3.0, "batch": new_id()}
                for _ in range(size)
            ],
        )  # fmt: skip
        numbers = list(session.scalars(select(JobRow.number)))
        roles = ("thumbnail", "before", "after", "output", "input")
        session.execute(
            insert(ArtifactRow),
            [
                {"id": new_id(), "job_number": number, "owner": LOCAL, "role": role,
                 "kind": "image", "path": str(files[place % len(files)]), "bytes": 1,
                 "position": place}
                for number in numbers
                for place, role in enumerate(roles)
            ],
        )  # fmt: skip
        session.execute(
            insert(MeasurementRow),
            [
                {"job_number": number, "name": name, "value": 1.0, "position": place}
                for number in numbers
                for place, name in enumerate(("K", "sigma", "confidence", "passes"))
            ],
        )
