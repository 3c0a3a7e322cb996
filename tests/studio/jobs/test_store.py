"""The queue in the database: whose turn it is, who sees what, what a start makes of a crash."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from db.database import close_database, open_database
from engines.base import UserError
from studio.jobs.new_job import NewJob
from studio.jobs.store import Store
from studio.jobs.store_runner import MAX_ATTEMPTS
from studio.jobs.task import FileFacts, Outcome, Progress
from studio.jobs.views import BatchItem, JobView, NotFound
from studio.workspace import Move


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    factory = open_database(database_url)
    yield Store(factory)
    close_database(factory)


def _new(count: int = 1, **given: Any) -> list[NewJob]:
    return [NewJob("demo.invert", "1", {}, [Path(f"/in/{n}.txt")], "document", **given)
            for n in range(count)]  # fmt: skip


def _add(store: Store, owner: str, count: int = 1, **given: Any) -> list[str]:
    session = store.first_session(owner, "a session").id
    return store.add(owner, session, _new(count, **given))


def _claim(store: Store) -> str:
    claimed = store.claim("cpu")
    assert claimed is not None
    return claimed.id


def _done(*files: str) -> Outcome:
    return Outcome("done", inputs=(("0" * 64, 3),), device="cpu", engine_version="1",
                   files=tuple(FileFacts("output", "document", "", name, "1" * 64, 5)
                               for name in files))  # fmt: skip


def test_one_owners_jobs_are_done_in_the_order_in_which_they_came(store: Store) -> None:
    ids = _add(store, "ann", 3) + _add(store, "ann", 2)
    assert [_claim(store) for _ in ids] == ids
    assert store.claim("cpu") is None


def test_owners_take_turns(store: Store) -> None:
    ann, ben = _add(store, "ann", 5), _add(store, "ben", 2)
    assert [_claim(store) for _ in range(3)] == [ann[0], ben[0], ann[1]]
    cat = _add(store, "cat", 2)  # who was never served is served next, and then in turn
    assert [_claim(store) for _ in range(6)] == [cat[0], ben[1], ann[2], cat[1], ann[3], ann[4]]


def test_who_asks_and_asks_keeps_nobody_waiting(store: Store) -> None:
    def ask(owner: str) -> str:
        session = store.first_session(owner, "a session").id
        [new] = _new()
        return store.add(owner, session, [replace(new, engine="superres.preview")])[0]

    first, second, jobs, mine = ask("ann"), ask("ann"), _add(store, "ben", 2), _add(store, "ann")
    order = []
    asked = False
    while (claimed := store.claim("cpu", asked=asked)) is not None:
        order.append(claimed.id)
        asked = claimed.engine == "superres.preview"
    assert order == [first, jobs[0], second, *mine, jobs[1]]
    # One's own jobs wait for one's own questions.
    mine, first, second = _add(store, "ann"), ask("ann"), ask("ann")
    assert [_claim(store), store.claim("cpu", asked=True).id] == [first, second]  # type: ignore[union-attr]


def test_a_claimed_job_says_all_that_is_needed(store: Store) -> None:
    [first] = _add(store, "ann", out_dir=Path("/out"), seed=7, device="cuda")
    _add(store, "ann")
    claimed, second = store.claim("cpu"), store.claim("cpu")
    assert claimed is not None
    assert second is not None
    assert (claimed.id, claimed.inputs, claimed.out_dir) == (first, ("/in/0.txt",), Path("/out"))
    assert (claimed.device, claimed.seed, claimed.owner) == ("cuda", 7, "ann")
    assert (second.device, second.out_dir) == ("cpu", None)
    job = store.job("ann", first)
    assert job.state == "running"
    assert job.started is not None


def test_what_an_owner_may_not_see_is_not_there(store: Store) -> None:
    [mine] = _add(store, "ann", batch="b" * 32)
    _claim(store)
    store.finish(mine, _done("a.txt"), [(_done("a.txt").files[0], Path("/out/a.txt"))])
    [running] = _add(store, "ann", batch="b" * 32)
    _claim(store)
    session = store.sessions("ann")[0].id
    artifact = store.job("ann", mine).outputs[0].id
    calls = [
        lambda: store.job("ben", mine),
        lambda: store.remove_job("ben", mine),
        lambda: store.request_cancel("ben", running),
        lambda: store.requeue("ben", [mine]),
        lambda: store.artifact("ben", artifact),
        lambda: store.rename_session("ben", session, "x"),
        lambda: store.remove_session("ben", session),
        lambda: store.touch_session("ben", session),
        lambda: store.add("ben", session, _new()),
    ]
    for call in calls:
        with pytest.raises(NotFound) as caught:
            call()
        unknown = str(caught.value)
        assert "ann" not in unknown
    for found in (
        store.jobs("ben"),
        store.jobs("ben", session_id=session),
        store.jobs("ben", batch="b" * 32),
        store.jobs("ben", ids=[mine]),
        store.newest_batch("ben", "b"),
        store.sessions("ben"),
    ):
        assert found == []
    assert store.counts("ben") == store.counts("ben", session) == {}
    assert store.marks("ben", [mine]) == {}
    assert store.request_cancel_all("ben", session) == (0, [])
    assert store.queue("ben").running == ()
    assert store.job("ann", mine).state == "done"
    assert store.job("ann", running).state == "running"
    assert store.sessions("ann")[0].name == "a session"


def test_not_there_and_not_yours_sound_alike(store: Store) -> None:
    [mine] = _add(store, "ann")
    with pytest.raises(NotFound) as yours:
        store.job("ben", mine)
    with pytest.raises(NotFound) as unknown:
        store.job("ben", "0" * 32)
    assert str(yours.value) == str(unknown.value)


def test_the_queue_says_how_many_are_ahead_and_not_who(store: Store) -> None:
    _add(store, "ann", 3)
    _add(store, "ben", 2)
    _add(store, "cat")
    queue = store.queue("cat")
    assert (queue.running, queue.waiting, queue.ahead) == ((), 1, 2)
    _claim(store)
    assert store.queue("cat").ahead == 2
    assert store.queue("ann").ahead == 0
    assert store.queue("ann").waiting == 2


def test_jobs_come_in_pages(store: Store) -> None:
    ids = _add(store, "ann", 7)
    assert [job.id for job in store.jobs("ann", limit=3)] == ids[:3:-1]
    assert [job.id for job in store.jobs("ann", limit=3, offset=5, newest_first=False)] == ids[5:]
    _claim(store)
    assert [job.id for job in store.jobs("ann", states=("running",))] == ids[:1]
    assert [len(store.jobs("ann", engine_prefix=prefix)) for prefix in ("demo.", "raw.")] == [7, 0]
    assert store.counts("ann") == {"running": 1, "queued": 6}
    assert store.sessions("ann")[0].jobs == 7


def test_a_batch_in_a_few_words(store: Store) -> None:
    session = store.first_session("ann", "a session").id
    new = NewJob("demo.invert", "1", {}, [Path("/in/caf\udce9.txt"), Path("/in/second.txt")],
                 "document", batch="b" * 32)  # fmt: skip
    first, second = store.add("ann", session, [new, new])
    store.add("ann", session, _new(batch="c" * 32))
    _claim(store)
    files = [
        FileFacts(role, "document", "", name, "1" * 64, 5)
        for role, name in (
            ("output", "a"),
            ("figure", "f"),
            ("output", "b"),
            ("thumbnail", "t.jpg"),
        )
    ]
    outcome = Outcome("done", inputs=(("0" * 64, 3), ("1" * 64, 3)), device="cpu")
    store.finish(first, outcome, [(file, Path("/out") / file.name) for file in files])
    thumbnail = store.job("ann", first).thumbnail
    assert thumbnail is not None
    assert store.batch("ann", "b" * 32) == [
        BatchItem(first, "done", "caf?.txt", 2, (thumbnail.id, "t.jpg")),
        BatchItem(second, "queued", "caf?.txt", 0, None),
    ]
    assert [item.id for item in store.batch("ann", "b" * 32, limit=1)] == [first]
    assert store.batch("ben", "b" * 32) == store.batch("ann", "d" * 32) == []


def test_cancelling(store: Store) -> None:
    first, second, third = _add(store, "ann", 3)
    assert _claim(store) == first
    assert store.request_cancel("ann", first) == "running"
    assert store.cancel_requested(first)
    assert store.job("ann", first).state == "running"  # until its worker says so
    assert store.request_cancel("ann", second) == "queued"
    assert store.job("ann", second).state == "cancelled"
    assert store.request_cancel("ann", second) == "cancelled"
    assert store.request_cancel_all("ann") == (2, [first])
    assert store.job("ann", third).finished is not None
    assert store.claim("cpu") is None
    store.finish(first, Outcome("cancelled"))
    assert store.job("ann", first).state == "cancelled"
    assert not store.cancel_requested(first)
    assert store.cancel_requested("0" * 32)  # a job that was deleted is to stop


def test_a_result_is_recorded_whole(store: Store) -> None:
    [job_id] = _add(store, "ann")
    _claim(store)
    store.progress(job_id, Progress(3, 10, "tile 3/10"))
    files = (
        FileFacts("output", "document", "text", "a.txt", "1" * 64, 5, True),
        FileFacts("before", "image", "pair", "b.png", "2" * 64, 6),
        FileFacts("after", "image", "pair", "c.png", "3" * 64, 7),
        FileFacts("figure", "image", "curve", "d.png", "4" * 64, 8, facts={"alt": "a line"}),
        FileFacts("thumbnail", "image", "", "e.jpg", "5" * 64, 9),
    )
    outcome = Outcome(
        "done", seconds=1.5, peak_mb=99.0, device="cpu", engine_version="1",
        inputs=(("6" * 64, 3),), files=files, measurements=(("K", 4.0, "DN/e-"), ("n", 2.0, "")),
        notes=("caf\udce9 is old",), models={"small": "7" * 64}, versions={"torch": "2"},
    )  # fmt: skip
    assert store.finish(job_id, outcome, [(f, Path("/out") / f.name) for f in files])
    job = store.job("ann", job_id)
    assert (job.state, job.error, job.text, job.done, job.total) == ("done", None, "", 10, 10)
    assert (job.seconds, job.peak_mb, job.device) == (1.5, 99.0, "cpu")
    assert [(f.sha256, f.bytes) for f in job.inputs] == [("6" * 64, 3)]
    assert job.primary is not None
    assert job.primary.path == Path("/out/a.txt")
    assert [(a.name, b.name) for a, b in job.comparisons] == [("b.png", "c.png")]
    assert job.figures[0].facts == {"alt": "a line"}
    assert job.thumbnail is not None
    assert list(job.measurements.items()) == [("K", (4.0, "DN/e-")), ("n", (2.0, ""))]
    assert (job.notes, job.models, job.versions) == (
        ("caf? is old",), {"small": "7" * 64}, {"torch": "2"},
    )  # fmt: skip


def test_a_job_that_was_deleted_meanwhile_is_not_recorded(store: Store) -> None:
    [job_id] = _add(store, "ann")
    store.remove_job("ann", job_id)
    assert not store.finish(job_id, _done())


@pytest.mark.parametrize("ended", ["done", "failed", "cancelled"])
def test_a_job_that_is_queued_again_has_no_results_until_it_has_new_ones(
    store: Store, ended: str
) -> None:
    [job_id] = _add(store, "ann")
    _claim(store)
    store.finish(job_id, _done("a.txt"), [(_done("a.txt").files[0], Path("/out/a.txt"))])
    store.requeue("ann", [job_id], "cuda")
    job = store.job("ann", job_id)
    assert (job.state, job.outputs, job.measurements) == ("queued", (), {})
    assert [file.name for file in job.inputs] == ["0.txt"]
    claimed = store.claim("cpu")
    assert claimed is not None
    assert (claimed.id, claimed.device) == (job_id, "cuda")
    store.requeue("ann", [job_id])  # what has not ended stays as it is
    assert store.job("ann", job_id).state == "running"
    outcome = _done("b.txt") if ended == "done" else Outcome(ended, "because")  # type: ignore[arg-type]
    store.finish(job_id, outcome, [(f, Path("/out") / f.name) for f in outcome.files])
    job = store.job("ann", job_id)
    assert job.state == ended
    assert [file.name for file in job.outputs] == (["b.txt"] if ended == "done" else [])


def test_a_session_with_a_running_job_stays(store: Store) -> None:
    [job_id] = _add(store, "ann")
    _claim(store)
    session = store.sessions("ann")[0].id
    with pytest.raises(UserError, match=r"^A job of this session is being stopped"):
        store.remove_session("ann", session)
    store.finish(job_id, Outcome("cancelled"))
    store.remove_session("ann", session)
    assert store.sessions("ann") == []
    with pytest.raises(NotFound):
        store.job("ann", job_id)


def test_a_running_job_is_not_removed(store: Store) -> None:
    [job_id] = _add(store, "ann")
    _claim(store)
    assert store.remove_job("ann", job_id).state == "running"
    assert store.job("ann", job_id).state == "running"


def test_interrupted_jobs_are_queued_again_but_not_for_ever(store: Store) -> None:
    first, second = _add(store, "ann", 2)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert store.job("ann", first).state == "queued"
        assert _claim(store) == first
        store.requeue_unfinished()  # the studio was killed and starts again
        assert store.job("ann", first).state == ("queued" if attempt < MAX_ATTEMPTS else "failed")
    assert store.job("ann", first).error == (
        "The studio stopped 3 times in the middle of this file; "
        "try it alone, or with a smaller tile"
    )
    for _ in range(5):  # to stop in good order counts as nothing
        assert _claim(store) == second
        store.interrupt(second)
        assert store.job("ann", second).state == "interrupted"
        assert store.claim("cpu") is None
        store.requeue_unfinished()
    assert store.job("ann", second).state == "queued"


def test_who_wanted_it_stopped_does_not_get_it_again(store: Store) -> None:
    [job_id] = _add(store, "ann")
    _claim(store)
    store.request_cancel("ann", job_id)
    store.requeue_unfinished()
    assert store.job("ann", job_id).state == "cancelled"
    assert store.claim("cpu") is None


def test_the_journal_outlives_the_record_until_it_is_settled(store: Store) -> None:
    done, running, waiting = _add(store, "ann", 3, out_dir=Path("/out"))
    assert [_claim(store), _claim(store)] == [done, running]
    moves = [
        Move(Path(f"/out/.noise-studio-{n}"), Path(f"/out/{n}"), f"{n}" * 64) for n in range(2)
    ]
    store.journal(done, moves)
    store.finish(done, _done())
    found = {one.id: one for one in store.leftovers()}
    assert set(found) == {done, running}
    assert found[done].done
    assert found[done].moving == tuple(moves)
    assert (found[running].done, found[running].moving) == (False, ())
    assert found[running].out_dir == Path("/out")
    store.settled(done)
    assert [one.id for one in store.leftovers()] == [running]
    assert store.job("ann", waiting).state == "queued"


def test_the_first_session_is_made_once(store: Store) -> None:
    first = store.first_session("ann", "one")
    assert store.first_session("ann", "two").id == first.id
    assert store.first_session("ben", "three").id != first.id


# Several processes on one database

JOBS, CLAIMERS = 60, 3
PATIENCE = 80.0  # seconds; a process of this test never outlives it


def _queue_some(url: str, owner: str) -> None:
    factory = open_database(url)
    store = Store(factory)
    for _ in range(JOBS // 2):
        _add(store, owner)
    close_database(factory)


def _claim_some(url: str, said: Any) -> None:
    factory = open_database(url)
    store, mine = Store(factory), list[str]()
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        claimed = store.claim("cpu")
        if claimed is not None:
            mine.append(claimed.id)
            store.progress(claimed.id, Progress(1, 2, "half"))
            store.finish(claimed.id, _done())
        elif sum(store.counts(owner).get("done", 0) for owner in ("ann", "ben")) == JOBS:
            break
        else:
            time.sleep(0.01)  # as the runner does; who only looks must not hold up who queues
    said.put(mine)
    close_database(factory)


def test_processes_queue_and_claim_at_once_and_each_job_is_done_once(
    store: Store, database_url: str
) -> None:
    context = multiprocessing.get_context("spawn")
    said = context.Queue()
    work = [(_queue_some, (database_url, owner)) for owner in ("ann", "ben")]
    work += [(_claim_some, (database_url, said))] * CLAIMERS
    processes = [context.Process(target=one, args=given, daemon=True) for one, given in work]
    until = time.monotonic() + PATIENCE + 20
    for process in processes:
        process.start()
    try:
        claimed: list[str] = []
        for _ in range(CLAIMERS):
            claimed += said.get(timeout=max(0.0, until - time.monotonic()))
        for process in processes:
            process.join(timeout=5)
    finally:
        for process in processes:
            process.kill()
    assert [process.exitcode for process in processes] == [0] * len(processes)
    assert Counter(claimed).most_common(1)[0][1] == 1
    assert sorted(claimed) == sorted(
        _ids(store.jobs("ann", limit=JOBS) + store.jobs("ben", limit=JOBS))
    )


def _ids(jobs: Sequence[JobView]) -> list[str]:
    return [job.id for job in jobs]


def test_the_time_of_a_batch_is_judged_by_its_last_jobs(store: Store) -> None:
    _add(store, "ann", 5, batch="b" * 32)
    for _ in range(2):
        first = _claim(store)
        store.finish(first, replace(_done(), seconds=30.0))
        assert store.queue("ann").seconds_left is None  # nothing runs, so nobody can tell
    _claim(store)
    queue = store.queue("ann")
    assert (len(queue.running), queue.waiting) == (1, 2)
    assert queue.seconds_left == pytest.approx(90.0, abs=2.0)
    assert store.queue("ben").seconds_left is None
