"""What page, command line and API call, with a runner that does the jobs in this process."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines import registry
from engines.base import UserError
from engines.weights import sha256_of
from studio.config import LOCAL, Settings
from studio.jobs.service import Studio
from studio.jobs.views import JobView, NotFound
from tests.studio.jobs.conftest import Write, assert_tidy, files_below, session_of

INVERT, BIG, STUCK = "demo.invert", "demo.big", "demo.stuck"


@pytest.fixture
def waiting(settings: Settings) -> Iterator[Studio]:
    """A studio that does nothing yet: what is queued stays queued until `start`."""
    studio = Studio(settings)
    yield studio
    studio.stop()


def _submit(studio: Studio, paths: list[Path], engine: str = INVERT, **given: Any) -> list[str]:
    params = given.pop("params", {})
    owner = given.pop("owner", LOCAL)
    items = [[path] for path in paths]
    return studio.submit(owner, session_of(studio, owner), engine, items, params, **given)


def _run(studio: Studio, paths: list[Path], engine: str = INVERT, **given: Any) -> list[JobView]:
    return studio.wait(LOCAL, _submit(studio, paths, engine, **given))


# Results


def test_every_input_and_output_is_hashed_and_no_input_is_changed(
    studio: Studio, write: Write, tmp_path: Path
) -> None:
    inputs = write(3)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in inputs}
    jobs = _run(studio, inputs, BIG, params={"times": 2}, out_dir=tmp_path / "out")
    for job, path in zip(jobs, inputs, strict=True):
        assert job.state == "done"
        [taken] = job.inputs
        assert (taken.path, taken.sha256, taken.bytes) == (
            path, sha256_of(path), path.stat().st_size,
        )  # fmt: skip
        made = [*job.outputs, *job.figures, *job.comparisons[0], *job.tracks[1], job.thumbnail]
        assert len(made) == 8
        for file in made:
            assert file is not None
            assert (file.sha256, file.bytes) == (sha256_of(file.path), file.path.stat().st_size)
        assert [file.path.parent for file in job.outputs] == [tmp_path / "out"] * 2
        assert [file.primary for file in job.outputs] == [True, False]
        assert job.figures[0].facts["alt"] == "a line that rises"
        heard, seen = zip(*job.tracks, strict=True)
        assert [sound.facts["loudness"] for sound in heard] == [-23.0, None]  # silence has none
        assert [picture.facts["marks"] for picture in seen] == [[[1000.0, 0.5]], []]
        assert list(job.measurements) == ["size", "peak_mb"]  # what is no number is not recorded
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in inputs} == before
    assert_tidy(studio, jobs, tmp_path / "out")


def test_outputs_never_take_anothers_place(studio: Studio, write: Write, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "0.inverted.txt").write_text("mine, from before")
    jobs = _run(studio, write(1) + write(1, "others"), out_dir=out)
    assert [job.outputs[0].name for job in jobs] == ["0.inverted-2.txt", "0.inverted-3.txt"]
    assert (out / "0.inverted.txt").read_text() == "mine, from before"
    assert [file.path.read_text() for job in jobs for file in job.outputs] == [
        "stupni fo 0 txet eht",
        "srehto fo 0 txet eht",
    ]
    assert_tidy(studio, jobs, out)


def test_outputs_beside_their_inputs_do_not_replace_them(studio: Studio, write: Write) -> None:
    [path] = write(1)
    path = path.rename(path.with_name("0.0.bin"))
    again = path.with_name("0.bin")
    shutil.copy(path, again)
    jobs = _run(studio, [again], BIG, out_dir=path.parent)
    assert jobs[0].outputs[0].name == "0.0-2.bin"
    assert path.read_bytes() == again.read_bytes()


def test_what_cannot_be_linked_is_copied(studio: Studio, write: Write) -> None:
    """The folder is on another file system than the studio's home: /dev/shm."""
    out = Path("/dev/shm") / f"noise-studio-{os.getpid()}"
    try:
        [job] = _run(studio, write(1), BIG, out_dir=out)
        assert job.state == "done"
        assert_tidy(studio, [job], out)
        assert files_below(out) == {"0.0.bin"}
    finally:
        shutil.rmtree(out, ignore_errors=True)


def test_without_a_folder_results_stay_in_the_studios(studio: Studio, write: Write) -> None:
    [job] = _run(studio, write(1))
    assert job.primary is not None
    assert job.primary.path == studio.settings.outputs / job.session_id / job.id / "0.inverted.txt"
    assert studio.artifact(LOCAL, job.primary.id).path == job.primary.path
    assert studio.storage(LOCAL) == job.primary.bytes
    job.primary.path.unlink()
    with pytest.raises(NotFound, match=r"^0.inverted.txt was moved or deleted$"):
        studio.artifact(LOCAL, job.primary.id)


def test_a_folder_that_takes_nothing_is_a_sentence_and_the_rest_goes_on(
    studio: Studio, write: Write, tmp_path: Path
) -> None:
    paths = write(2)
    [bad] = _run(studio, paths[:1], out_dir=paths[1])
    [good] = _run(studio, paths[:1], out_dir=tmp_path / "new" / "folder")
    assert bad.error == "Nothing can be written to 1.txt (File exists); choose another folder"
    assert good.state == "done"
    assert_tidy(studio, [bad, good])


@pytest.mark.parametrize("name", [b"caf\xe9.txt", "日本 🙂.txt".encode(), b"#1?100%.txt"])
def test_inputs_of_any_name(studio: Studio, write: Write, tmp_path: Path, name: bytes) -> None:
    path = write(1)[0].rename(tmp_path / os.fsdecode(name))
    for out in (None, tmp_path / "out"):
        [job] = _run(studio, [path], out_dir=out)
        assert (job.state, job.error) == ("done", None)
        assert job.inputs[0].path == path
        job.outputs[0].name.encode()  # a page can show it
        assert job.outputs[0].path.is_file()
    assert not any(c in job.outputs[0].name for c in "?\ufffd*")


# Things that go wrong


def test_each_bad_input_is_one_sentence_and_the_rest_goes_on(
    studio: Studio, write: Write, tmp_path: Path
) -> None:
    good = write(2)
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    (tmp_path / "empty.txt").write_bytes(b"")
    names = ["gone.txt", "inputs", "pipe.txt", "binary.txt", "loop.txt", "empty.txt"]
    jobs = _run(studio, [good[0], *(tmp_path / name for name in names), good[1]])
    assert [job.error for job in jobs] == [
        None,
        "There is no file gone.txt here any more; choose it again",
        "inputs is a folder; choose the files in it",
        "pipe.txt is no file; choose a file",
        "This is no text; choose a text file: binary.txt",
        "loop.txt cannot be read (Too many levels of symbolic links); copy it elsewhere",
        None,
        None,
    ]
    assert_tidy(studio, jobs)


def test_a_surprise_is_a_sentence_with_the_details_in_a_file(studio: Studio, write: Write) -> None:
    jobs = _run(studio, write(1), params={"fail": "surprise"})
    jobs += _run(studio, write(1), params={"fail": "user"})
    assert [job.error for job in jobs] == [
        "Something unexpected went wrong (RuntimeError); the details are in "
        f"cache/logs/{jobs[0].id}.log of the studio's folder",
        "It went wrong as you asked; set fail to no",
    ]
    log = (studio.settings.cache / "logs" / f"{jobs[0].id}.log").read_text()
    assert "nobody foresaw this" in log
    assert studio.clean() == len(log.encode())
    assert_tidy(studio, jobs)


def test_an_input_that_changes_while_it_is_read_is_no_result(studio: Studio, write: Write) -> None:
    [path] = write(1)
    changed = threading.Event()

    def change(job: JobView) -> None:
        if job.state == "running" and job.done and not changed.is_set():
            path.write_text("something else")
            changed.set()

    [job] = studio.wait(LOCAL, _submit(studio, [path], params={"seconds": 1}), change)
    assert changed.is_set()
    assert job.error == "0.txt was changed while it was being read; run it again"
    assert_tidy(studio, [job])


@pytest.mark.parametrize(
    ("engine", "params", "sentence"),
    [
        ("demo.nothing", {}, "There is no engine called demo.nothing; `engines` lists those that"),
        (INVERT, {"loud": 1}, "There is no parameter loud; `engines` lists those that exist"),
        (INVERT, {"repeat": 10}, "repeat: input should be less than or equal to 9, got 10"),
        (INVERT, {"repeat": "x"}, "repeat: input should be a valid integer.*, got 'x'"),
        (INVERT, {"end": "x"}, "end: input should be 'none', 'dot' or 'mark', got 'x'"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_queued(
    waiting: Studio, write: Write, engine: str, params: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=f"^{sentence}"):
        _submit(waiting, write(1), engine, params=params)
    assert waiting.counts(LOCAL) == {}


def test_nothing_to_do_and_too_much_to_do(settings: Settings, write: Write) -> None:
    studio = Studio(replace(settings, max_waiting_jobs=3))
    with pytest.raises(UserError, match=r"^There is nothing to do; choose at least one file$"):
        _submit(studio, [])
    _submit(studio, write(2))
    with pytest.raises(UserError, match=r"^At most 3 jobs may wait; let some finish"):
        _submit(studio, write(2))
    _submit(studio, write(1))
    _submit(studio, write(3), owner="somebody else")  # each owner has a queue of their own
    assert studio.counts(LOCAL) == {"queued": 3}
    studio.stop()


def test_an_engine_that_is_no_longer_there_fails_its_jobs_alone(
    waiting: Studio, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = _submit(waiting, write(1), BIG) + _submit(waiting, write(1))
    del registry._added[BIG]
    waiting.start()
    gone, there = waiting.wait(LOCAL, ids)
    assert (gone.title, gone.state) == (BIG, "failed")
    assert gone.error is not None
    assert gone.error.startswith("There is no engine called demo.big")
    assert there.state == "done"


# Cancel, run again, delete


def test_cancel_waiting_and_running(studio: Studio, write: Write, tmp_path: Path) -> None:
    ids = _submit(studio, write(3), params={"seconds": 30}, out_dir=tmp_path / "out")

    def cancel(job: JobView) -> None:
        if job.done:
            studio.cancel(LOCAL, ids[2])
            studio.cancel(LOCAL, job.id)

    jobs = studio.wait(LOCAL, ids[:1], cancel)
    assert studio.cancel_all(LOCAL) == 1
    jobs = studio.wait(LOCAL, ids)
    assert [job.state for job in jobs] == ["cancelled"] * 3
    assert [job.error for job in jobs] == [None] * 3
    assert studio.cancel_all(LOCAL) == 0
    assert_tidy(studio, jobs, tmp_path / "out")
    assert files_below(tmp_path / "out") == set()


def test_run_again_with_the_same_and_with_other_settings(studio: Studio, write: Write) -> None:
    [first] = _run(studio, write(1), params={"upper": True}, seed=11)
    again = studio.rerun(LOCAL, first.id)
    other = studio.rerun(LOCAL, first.id, {"repeat": 2})
    one, two = studio.wait(LOCAL, [again, other])
    assert (one.params, one.seed, one.inputs[0].path) == (first.params, 11, first.inputs[0].path)
    assert one.outputs[0].sha256 == first.outputs[0].sha256
    assert two.params["repeat"] == 2
    assert two.outputs[0].path.read_text() == 2 * "stupni fo 0 txet eht"
    assert studio.job(LOCAL, first.id) == first
    with pytest.raises(UserError, match=r"^repeat: "):
        studio.rerun(LOCAL, first.id, {"repeat": 0})


def test_deleting_a_job_removes_files_and_rows_together(
    studio: Studio, write: Write, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    outside, inside, stays = (
        *_run(studio, write(1), BIG, out_dir=out), *_run(studio, write(2), BIG),
    )  # fmt: skip
    studio.delete_job(LOCAL, outside.id)
    studio.delete_job(LOCAL, inside.id)
    assert studio.jobs(LOCAL) == [stays]
    assert_tidy(studio, [stays], out)
    assert files_below(out) == {"0.0.bin"}  # a file in the person's own folder is theirs
    assert all(path.is_file() for path in write(2))
    with pytest.raises(NotFound):
        studio.delete_job(LOCAL, inside.id)


def test_a_running_job_is_cancelled_before_it_is_deleted(studio: Studio, write: Write) -> None:
    [job_id] = _submit(studio, write(1), params={"seconds": 30})
    refused: list[str] = []

    def delete(job: JobView) -> None:
        if job.state == "running" and not refused:
            with pytest.raises(UserError) as caught:
                studio.delete_job(LOCAL, job_id)
            refused.append(str(caught.value))
            studio.cancel(LOCAL, job_id)

    studio.wait(LOCAL, [job_id], delete)
    assert refused == ["This job is running; cancel it first"]
    studio.delete_job(LOCAL, job_id)
    assert studio.jobs(LOCAL) == []


def test_waiting_for_a_job_that_somebody_deletes_ends(waiting: Studio, write: Write) -> None:
    ids = _submit(waiting, write(2))
    waiting.delete_job(LOCAL, ids[0])
    with pytest.raises(NotFound):
        waiting.wait(LOCAL, ids)

    def start(job: JobView) -> None:
        if job.state == "queued":
            waiting.delete_job(LOCAL, ids[1])

    [job] = waiting.wait(LOCAL, ids[1:], start)
    assert (job.state, job.error) == ("cancelled", "It was deleted while it waited")


def test_deleting_a_session_takes_everything_of_it_alone(
    studio: Studio, write: Write, tmp_path: Path
) -> None:
    keep = _run(studio, write(1), BIG)
    session = studio.new_session(LOCAL, " Trip ").id
    sent = write(2, "sent")
    ids = studio.submit(LOCAL, session, BIG, [[path] for path in sent], {}, uploads=True)
    studio.wait(LOCAL, ids)
    ids = studio.submit(LOCAL, session, INVERT, [[p] for p in write(3)], {"seconds": 30},
                        out_dir=tmp_path / "out")  # fmt: skip
    assert {view.name for view in studio.sessions(LOCAL)} >= {"Trip"}
    studio.delete_session(LOCAL, session)  # one of its jobs runs, two wait
    assert [view.id for view in studio.sessions(LOCAL)] == [keep[0].session_id]
    assert studio.jobs(LOCAL) == keep
    assert_tidy(studio, keep, tmp_path / "out")
    assert files_below(studio.settings.uploads) == set()
    with pytest.raises(NotFound):
        studio.delete_session(LOCAL, session)


def test_sessions_have_names_and_the_one_used_last_is_opened(studio: Studio) -> None:
    first = studio.open_session(LOCAL)
    assert first.name
    second = studio.new_session(LOCAL, "n" * 300)
    assert len(second.name) == 200
    assert studio.open_session(LOCAL).id == second.id
    assert studio.open_session(LOCAL, first.id).id == first.id
    assert studio.open_session(LOCAL, "of somebody else").id == second.id
    assert studio.open_session("ben", first.id).id not in (first.id, second.id)
    studio.rename_session(LOCAL, first.id, "  Autumn ")
    assert {view.name for view in studio.sessions(LOCAL)} == {"Autumn", "n" * 200}
    with pytest.raises(UserError, match=r"^A session needs a name; type one$"):
        studio.rename_session(LOCAL, first.id, "  ")


def test_pages_that_open_at_once_share_the_first_session(studio: Studio) -> None:
    barrier, found = threading.Barrier(8), set[str]()

    def open_page() -> None:
        barrier.wait()
        found.add(studio.open_session("ann").id)

    threads = [threading.Thread(target=open_page) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(studio.sessions("ann")) == 1


# Uploads


def test_uploads_are_kept_with_the_session_until_no_job_needs_them(
    studio: Studio, write: Write
) -> None:
    sent = write(2, "sent")
    ids = _submit(studio, sent, uploads=True)
    first, second = studio.wait(LOCAL, ids)
    assert not any(path.exists() for path in sent)
    upload = first.inputs[0].path
    assert upload.is_relative_to(studio.settings.uploads / first.session_id)
    assert upload.name == "0.txt"
    [again] = studio.wait(LOCAL, [studio.rerun(LOCAL, first.id)])
    assert again.inputs[0].path == upload
    studio.delete_job(LOCAL, first.id)
    assert upload.is_file()
    studio.delete_job(LOCAL, again.id)
    assert not upload.parent.exists()
    assert second.inputs[0].path.is_file()


def test_uploads_that_could_not_be_queued_are_given_back(
    studio: Studio, write: Write, tmp_path: Path
) -> None:
    sent = write(1, "sent")
    with pytest.raises(UserError, match=r"^gone.txt could not be kept"):
        _submit(studio, [*sent, tmp_path / "gone.txt"], uploads=True)
    assert sent[0].read_text() == "the text 0 of sent"
    assert files_below(studio.settings.uploads) == set()
    assert studio.counts(LOCAL) == {}


def test_names_of_uploads_stay_inside(studio: Studio, tmp_path: Path) -> None:
    for number, name in enumerate(("a\\..\\..\\b.txt", "fake\u202egnp.txt", "x" * 200 + ".txt")):
        path = tmp_path / str(number) / name
        path.parent.mkdir()
        path.write_text("text")
        [job] = _run(studio, [path], uploads=True)
        kept = job.inputs[0].path
        assert kept.resolve().is_relative_to(studio.settings.uploads)
        assert not set(kept.name) & set("\\\u202e")
        assert job.state == "done"


# Batches


def test_a_batch_goes_on_where_it_stopped(settings: Settings, write: Write, tmp_path: Path) -> None:
    inputs, out = write(4), tmp_path / "out"
    inputs[1].write_bytes(b"\xff")

    def batch(studio: Studio, **params: Any) -> list[str]:
        return studio.submit_batch(LOCAL, session_of(studio), INVERT, inputs, params, out_dir=out)

    studio = Studio(settings)
    first = batch(studio)
    studio.cancel(LOCAL, first[3])
    studio.start()
    assert [job.state for job in studio.wait(LOCAL, first)] == [
        "done",
        "failed",
        "done",
        "cancelled",
    ]
    studio.stop()
    (out / "2.inverted.txt").unlink()
    stamp = (out / "0.inverted.txt").stat().st_mtime_ns

    studio = Studio(settings)
    studio.start()
    again = batch(studio)
    jobs = studio.wait(LOCAL, again)
    assert again == first
    assert [job.state for job in jobs] == ["done", "failed", "done", "done"]
    assert (out / "0.inverted.txt").stat().st_mtime_ns == stamp  # what is done is not done again
    assert files_below(out) == {"0.inverted.txt", "2.inverted.txt", "3.inverted.txt"}
    assert_tidy(studio, jobs, out)

    inputs[1].write_text("now it is text")  # another file: another batch
    second = batch(studio)
    assert not set(second) & set(first)
    assert [job.state for job in studio.wait(LOCAL, second)] == ["done"] * 4
    third = batch(studio)  # all is done: to ask again is to want it again
    assert not set(third) & set(second)
    other = batch(studio, upper=True)
    assert not set(other) & set(third)
    assert {job.state for job in studio.wait(LOCAL, third + other)} == {"done"}
    assert len(files_below(out)) == 3 + 3 * 4
    studio.stop()


def test_a_batch_on_another_device_changes_what_is_left(
    waiting: Studio, write: Write, tmp_path: Path
) -> None:
    inputs = write(2)

    def batch(device: str) -> list[str]:
        return waiting.submit_batch(
            LOCAL, session_of(waiting), INVERT, inputs, {}, out_dir=tmp_path, device=device
        )

    ids = batch("cuda")
    waiting.cancel(LOCAL, ids[0])
    assert batch("cpu") == ids
    assert [waiting.job(LOCAL, job_id).device for job_id in ids] == ["cpu", "cuda"]


def test_results_of_a_batch_come_as_they_are_ready(studio: Studio, write: Write) -> None:
    ids = _submit(studio, write(3), batch="b" * 32)
    seen: list[tuple[int, str]] = []
    studio.wait(LOCAL, ids, lambda job: seen.append((ids.index(job.id), job.state)), poll=0.01)
    assert [number for number, state in seen if state == "done"] == [0, 1, 2]
    assert [job.id for job in studio.jobs(LOCAL, batch="b" * 32, newest_first=False)] == ids
    assert studio.counts(LOCAL, batch="b" * 32) == {"done": 3}
    assert studio.jobs(LOCAL, tab="demo") == studio.jobs(LOCAL)
    assert studio.jobs(LOCAL, tab="raw") == []
