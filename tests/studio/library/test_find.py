"""Finding among all jobs of an owner, and the trash, in SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from db.database import close_database, open_database
from db.schema import now
from studio.jobs.new_job import NewJob
from studio.jobs.store import Store
from studio.jobs.store_library import Found
from studio.jobs.task import FileFacts, Outcome
from studio.library.wanted import Wanted


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    factory = open_database(database_url)
    yield Store(factory)
    close_database(factory)


def _job(
    store: Store, name: str, *, owner: str = "ann", engine: str = "raw.yond", state: str = "done",
    kind: str = "raw", camera: str = "", sha256: str = "", size: int = 5, **measured: float,
) -> str:  # fmt: skip
    """A job that has ended; returns its id."""
    session = store.first_session(owner, "a session").id
    [job] = store.add(owner, session, [NewJob(engine, "1", {}, [Path("/in") / name], kind)])
    claimed = store.claim("cpu")
    assert claimed is not None
    output = Path(name).with_suffix(".out").name
    files = [FileFacts("output", kind, "", output, "1" * 64, size, primary=True)]
    outcome = Outcome(
        cast("Any", state), inputs=((sha256 or "0" * 64, 3),), camera=camera, seconds=size,
        files=tuple(files), measurements=tuple((k, v, "") for k, v in measured.items()),
        error=None if state == "done" else "It went wrong",
    )  # fmt: skip
    store.finish(job, outcome, [(file, Path("/out") / file.name) for file in files])
    return job


def _found(store: Store, owner: str = "ann", **wanted: Any) -> list[str]:
    return [job.name for job in store.find(owner, Wanted.of(wanted), 50).jobs]


def test_words_engine_kind_camera_state_and_session_narrow_what_is_found(store: Store) -> None:
    _job(store, "Küste früh 1.NEF", camera="NIKON D750")
    _job(store, "küste_spät%.cr2", camera="Canon R5")
    _job(store, "voice.flac", engine="speech.storm", kind="audio")
    _job(store, "broken.nef", state="failed")
    _job(store, "küste.nef", owner="ben")
    assert _found(store, search="KÜSTE") == ["küste_spät%.cr2", "Küste früh 1.NEF"]
    assert _found(store, search="küste nef") == ["Küste früh 1.NEF"]
    assert _found(store, search="%") == ["küste_spät%.cr2"]  # no pattern, but what was typed
    assert _found(store, search="voice.out") == ["voice.flac"]  # results have names, too
    assert _found(store, search="/in") == []  # folders are not looked through
    assert _found(store, engine="speech") == ["voice.flac"]
    assert _found(store, engine="raw.yon") == []
    assert _found(store, kind="audio") == ["voice.flac"]
    assert _found(store, camera="Canon R5") == ["küste_spät%.cr2"]
    assert _found(store, state="failed") == ["broken.nef"]
    assert len(_found(store, session=store.sessions("ann")[0].id)) == 4
    assert _found(store, session=store.sessions("ben")[0].id) == []
    facets = store.facets("ann")
    assert facets.engines == (("raw.yond", 3), ("speech.storm", 1))
    assert facets.cameras == (("Canon R5", 1), ("NIKON D750", 1))


def test_measured_values_are_compared_and_sorted_by(store: Store) -> None:
    for name, gain in (("a", 1.0), ("b", 4.0), ("c", 2.5)):
        _job(store, name, K=gain, noise_removed=-gain)
    _job(store, "d", owner="ben", K=9.0)
    assert _found(store, measured="K > 2") == ["c", "b"]
    assert _found(store, measured="K > 2, noise removed > -3") == ["c"]
    assert _found(store, measured="K > 0", sort="high") == ["b", "c", "a"]
    assert _found(store, measured="K > 0", sort="low") == ["a", "c", "b"]
    assert _found(store, measured="nothing > 0") == []
    assert store.facets("ann").measured == ("K", "noise_removed")


def test_pages_dates_sizes_and_names_are_in_order(store: Store) -> None:
    for name, size in (("b", 1), ("C", 9), ("a", 4)):
        _job(store, name, size=size)
    assert _found(store, sort="oldest") == ["b", "C", "a"]
    assert _found(store, sort="name") == ["a", "b", "C"]
    assert _found(store, sort="largest") == ["C", "a", "b"]
    assert _found(store, sort="slowest") == ["C", "a", "b"]
    second = store.find("ann", Wanted(), limit=2, offset=2)
    assert (second.total, second.bytes, [job.name for job in second.jobs]) == (3, 14, ["b"])
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert _found(store, since=tomorrow) == []
    assert len(_found(store, until=tomorrow)) == 3


def test_what_is_in_the_trash_is_nowhere_else_and_comes_back(store: Store) -> None:
    kept, gone = _job(store, "kept"), _job(store, "gone")
    before = store.pulse("ann")
    assert store.to_trash("ben", [gone]) == []
    assert store.to_trash("ann", [gone, "nothing"]) == [gone]
    assert store.pulse("ann") != before
    assert _found(store) == ["kept"]
    assert _found(store, trash=True) == ["gone"]
    assert [job.id for job in store.jobs("ann")] == [kept]
    assert store.counts("ann") == {"done": 1}
    assert store.sessions("ann")[0].jobs == 1
    assert store.usage("ann").trashed == 1
    assert store.to_trash("ann", [gone]) == []  # it keeps its first time
    assert store.trashed(now() - timedelta(hours=1)) == []
    assert store.trashed(now() + timedelta(hours=1)) == [("ann", gone)]
    assert store.from_trash("ann", [gone]) == [gone]
    assert _found(store) == ["gone", "kept"]
    assert store.trashed(now() + timedelta(hours=1)) == []


def test_what_runs_is_not_thrown_away(store: Store) -> None:
    session = store.first_session("ann", "a session").id
    ids = store.add("ann", session, [NewJob("demo.invert", "1", {}, [], "document")] * 2)
    store.claim("cpu")
    assert store.waiting_of("ann", ids) == ([ids[1]], 1)
    assert store.to_trash("ann", ids) == []


def test_results_of_one_input_know_one_another(store: Store) -> None:
    first = _job(store, "a", sha256="a" * 64)
    second = _job(store, "renamed", sha256="a" * 64)
    _job(store, "b", sha256="b" * 64)
    _job(store, "a", owner="ben", sha256="a" * 64)
    assert [job.id for job in store.siblings("ann", store.job("ann", first))] == [second]


def test_nothing_found_is_no_page(store: Store) -> None:
    assert store.find("ann", Wanted(), 10) == Found(0, 0, ())
