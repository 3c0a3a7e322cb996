"""`bench library`: how quickly page and library answer when much was made.

A home is filled with 500 and with 10,000 finished jobs, each with six files and four measurements.
Timed are the page itself over HTTP, what the server makes of one look at the open library (queue,
header, whether there is anything new), and each question that the library asks: its first page with
sixty cards as HTML, the last page, a search for text, a bound on a measured value, each order, what
it can be narrowed by, the storage, and moving a thousand jobs to the trash and back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from sqlalchemy import insert, select

from db.database import open_database
from db.schema import ArtifactRow, JobRow, MeasurementRow, new_id, now
from studio.config import LOCAL, Settings
from studio.jobs.service import Studio

TITLE = "The page and the library with a long history"
SIZES = (500, 10_000)
_TIMES = 7
_TRASHED = 1000
_ROLES = ("thumbnail", "before", "after", "output", "figure", "input")
_ENGINES = ("raw.yond", "superres.classical", "speech.storm", "quantize.rtn")
_CAMERAS = ("NIKON D750", "FUJIFILM X-T3", "Canon EOS R5", "")
_WORDS = ("coast", "harbour", "meadow", "interview", "night")


def run() -> list[dict[str, Any]]:
    """One row a number of jobs; all times are medians."""
    return [_measure(size) for size in SIZES]


def _measure(size: int) -> dict[str, Any]:
    # The page is imported here, so that listing the benches does not load it.
    import gradio as gr

    from studio.app import open_page
    from studio.library.cards import card
    from studio.library.service import Library
    from studio.library.wanted import PAGE, Wanted
    from studio.markup import render
    from studio.panels.header import HeaderPanel
    from studio.panels.library import LibraryPanel, SessionsPanel
    from studio.panels.queue import QueuePanel
    from studio.scene import Scene, View

    with TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), executor="inline", port=7900)
        studio = Studio(settings)
        session = studio.new_session(LOCAL)
        fill(settings, session.id, size)
        library = Library(studio)
        blocks, address = open_page(studio)
        with gr.Blocks():
            panels = [QueuePanel(), SessionsPanel(), LibraryPanel(), HeaderPanel()]

        def look() -> None:
            scene = Scene(studio, LOCAL, session, View(tab="library"))
            for panel in panels:
                panel.html(scene)

        def page() -> None:
            with urlopen(address) as answer:  # noqa: S310 - our own server on this machine
                answer.read()

        def shown(**wanted: Any) -> Callable[[], None]:
            asked = Wanted.of(wanted)

            def show() -> None:
                found = library.find(LOCAL, asked)
                cards = [card(job) for job in found.jobs]
                render("library.html", cards=cards, narrowed=True, trash=False, kept=7)

            return show

        ids = library.ids(LOCAL, Wanted())[:_TRASHED]

        def trash() -> None:
            library.delete(LOCAL, ids)
            library.restore(LOCAL, ids)

        row = {
            "jobs": size,
            "files": size * len(_ROLES),
            "page_ms": _median_ms(page),
            "look_ms": _median_ms(look),
            "first_page_ms": _median_ms(shown()),
            "last_page_ms": _median_ms(shown(page=(size - 1) // PAGE)),
            "search_ms": _median_ms(shown(search="harbour 7")),
            "measured_ms": _median_ms(shown(measured="K > 8, sigma < 3")),
            "by_measured_ms": _median_ms(shown(measured="K > 0", sort="high")),
            "by_name_ms": _median_ms(shown(sort="name")),
            "by_size_ms": _median_ms(shown(sort="largest")),
            "camera_ms": _median_ms(shown(camera=_CAMERAS[0], engine="raw")),
            "facets_ms": _median_ms(lambda: library.facets(LOCAL)),
            "storage_ms": _median_ms(lambda: library.usage(LOCAL)),
            "trash_and_back_ms": _median_ms(trash),
        }
        blocks.close(verbose=False)
        return row


def _median_ms(action: Callable[[], Any]) -> float:
    action()
    spent: list[float] = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        action()
        spent.append(time.perf_counter() - begun)
    return round(1000 * median(spent), 1)


def fill(settings: Settings, session_id: str, size: int) -> None:
    """Add `size` finished jobs of mixed kinds to a session, as if made over many days."""
    folder = settings.outputs / session_id / "job"
    folder.mkdir(parents=True)
    files = {role: folder / f"{role}.jpg" for role in _ROLES}
    for file in files.values():
        file.write_bytes(b"x")
    begun = now() - timedelta(days=365)
    with open_database(settings.url).begin() as session:
        session.execute(
            insert(JobRow),
            [
                {"id": new_id(), "session_id": session_id, "owner": LOCAL,
                 "engine": _ENGINES[n % len(_ENGINES)], "params": {"strength": 1.0},
                 "state": "done", "created": begun + timedelta(minutes=50 * n),
                 "started": now(), "finished": now(), "seconds": n * 37 % 100, "batch": new_id(),
                 "name": f"{_WORDS[n % len(_WORDS)]} {n}.nef",
                 "words": f"{_WORDS[n % len(_WORDS)]} {n}.nef\n{_WORDS[n % len(_WORDS)]} {n}.dng",
                 "kind": ("raw", "image", "audio", "model")[n % len(_ENGINES)],
                 "camera": _CAMERAS[n % len(_CAMERAS)], "bytes": n * 7919 % 100_000_000}
                for n in range(size)
            ],
        )  # fmt: skip
        numbers = list(session.scalars(select(JobRow.number)))
        session.execute(
            insert(ArtifactRow),
            [
                {"id": new_id(), "job_number": number, "owner": LOCAL, "role": role,
                 "kind": "image", "path": str(files[role]), "bytes": 1, "position": place,
                 "sha256": f"{number:064x}", "primary": role == "output"}
                for number in numbers
                for place, role in enumerate(_ROLES)
            ],
        )  # fmt: skip
        session.execute(
            insert(MeasurementRow),
            [
                {"job_number": number, "name": name, "value": number * 31 % 100 / 10,
                 "position": place}
                for number in numbers
                for place, name in enumerate(("K", "sigma", "confidence", "passes"))
            ],
        )  # fmt: skip
