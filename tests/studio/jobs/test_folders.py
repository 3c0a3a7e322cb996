"""Models through the queue: folders and zips in, folders out, work that is gone on with."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.base import UserError
from studio.config import LOCAL, Settings
from studio.folders import content
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from tests.studio.jobs.conftest import Write, assert_tidy, files_below, session_of

VISITOR = "a" * 32


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that is a model by its looks."""
    folder = tmp_path / "models" / "tiny"
    (folder / "deep").mkdir(parents=True)
    (folder / "config.json").write_text('{"a": 1}')
    (folder / "deep" / "vocab.txt").write_text("a b")
    return folder


@pytest.fixture
def shared(settings: Settings) -> Iterator[Studio]:
    """A studio that strangers reach."""
    studio = Studio(replace(settings, space=True))
    studio.start()
    yield studio
    studio.stop()


def _zip(folder: Path) -> Path:
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as packed:
        for path in folder.rglob("*"):
            packed.write(path, path.relative_to(folder.parent))
    return archive


def _run(
    studio: Studio, engine: str, path: Path, owner: str = LOCAL, *, out: Path | None = None,
    **params: Any,
) -> JobView:  # fmt: skip
    ids = studio.submit(owner, session_of(studio, owner), engine, [[path]], params, out_dir=out)
    [job] = studio.wait(owner, ids, poll=0.01)
    return job


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_model_is_one_item_as_a_folder_and_as_a_zip(
    studio: Studio, model: Path, packed: bool
) -> None:
    given = _zip(model) if packed else model
    job = _run(studio, "demo.model", given)
    assert job.state == "done", job.error
    assert [file.kind for file in (*job.inputs, *job.outputs)] == ["model", "model"]
    [made] = job.outputs
    assert made.folder
    assert made.path.name == "tiny-small"
    assert (made.path / "config.json").read_text() == "config.json\ndeep/vocab.txt"
    assert (made.sha256, made.bytes) == content(made.path, lambda: None)
    assert job.inputs[0].bytes == (given.stat().st_size if packed else 11)
    assert_tidy(studio, [job])


def test_the_same_archive_is_unpacked_once_and_for_its_owner_alone(
    shared: Studio, model: Path
) -> None:
    archive = _zip(model)
    for owner in (LOCAL, LOCAL, VISITOR):
        assert _run(shared, "demo.model", archive, owner).state == "done"
    assert len(list((shared.settings.cache / "unpacked").iterdir())) == 2


def test_what_was_unpacked_goes_with_its_job_and_session(studio: Studio, model: Path) -> None:
    archive, kept = _zip(model), studio.settings.cache / "unpacked"
    job = _run(studio, "demo.model", archive)
    assert len(list(kept.iterdir())) == 1
    studio.delete_job(LOCAL, job.id)
    assert not list(kept.iterdir())
    job = _run(studio, "demo.model", archive)
    studio.delete_session(LOCAL, job.session_id)
    assert not list(kept.iterdir())


def test_what_is_no_model_and_what_changes_is_refused(studio: Studio, model: Path) -> None:
    said = _run(studio, "demo.model", model.parent).error
    assert said == "There is no model in models; it has to hold config.json and safetensors files"
    assert _run(studio, "demo.big", model).error == "tiny is a folder; choose the files in it"
    said = _run(studio, "demo.model", model, spoil=True).error
    assert said == "tiny was changed while it was being read; run it again"


def test_folders_go_to_a_folder_of_the_persons_and_replace_nothing(
    studio: Studio, write: Write, tmp_path: Path
) -> None:
    out, [text] = tmp_path / "out", write(1)
    (out / "0.0").mkdir(parents=True)
    (out / "0.0" / "mine.txt").write_text("mine")
    job = _run(studio, "demo.tree", text, out=out, times=2)
    names = {
        f"{name}/{part}" for name in ("0.0-2", "0.1") for part in ("config.json", "deep/b.bin")
    }
    assert files_below(out) == {*names, "0.0/mine.txt", "0.report.json"}
    assert {file.path for file in job.outputs if file.folder} == {out / "0.0-2", out / "0.1"}
    assert_tidy(studio, [job], out)
    studio.delete_job(LOCAL, job.id)
    assert (out / "0.1" / "config.json").is_file()  # files in the person's folder stay


def test_folders_are_copied_to_another_disk(
    studio: Studio, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def far(source: Any, target: Any) -> None:
        if Path(source).parent.parent.parent == studio.settings.outputs:
            raise OSError(18, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", far)
    out, [text] = tmp_path / "out", write(1)
    job = _run(studio, "demo.tree", text, out=out)
    assert job.state == "done", job.error
    assert files_below(out) == {"0.0/config.json", "0.0/deep/b.bin", "0.report.json"}
    assert_tidy(studio, [job], out)


def test_a_folder_that_does_not_fit_leaves_nothing(
    studio: Studio, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    monkeypatch.setattr(os, "rename", full)
    out, [text] = tmp_path / "out", write(1)
    job = _run(studio, "demo.tree", text, out=out)
    assert job.error == "The disk that holds out is full; free some space and run it again"
    assert not list(out.iterdir())


def test_links_in_a_folder_are_refused(studio: Studio, write: Write) -> None:
    job = _run(studio, "demo.tree", write(1)[0], link=True)
    assert job.error is not None
    assert "ValueError" in job.error


def test_a_folder_that_was_deleted_by_hand_is_missing(studio: Studio, model: Path) -> None:
    job = _run(studio, "demo.model", model)
    assert not job.outputs[0].missing
    studio.delete_job(LOCAL, _run(studio, "demo.model", model).id)
    (job.outputs[0].path / "config.json").unlink()
    job.outputs[0].path.rmdir()
    assert studio.job(LOCAL, job.id).outputs[0].missing


def test_a_batch_of_folders_is_another_one_once_a_model_has_changed(
    studio: Studio, model: Path, tmp_path: Path
) -> None:
    def batch() -> JobView:
        ids = studio.submit_batch(
            LOCAL, session_of(studio), "demo.model", [model], {"spoil": True},
            out_dir=tmp_path / "out",
        )  # fmt: skip
        [job] = studio.wait(LOCAL, ids, poll=0.01)
        return job

    first = batch()
    (model / "deep" / "vocab.txt").write_text("a b c d")
    assert batch().id != first.id


# Work that is gone on with


def test_work_is_gone_on_with_by_its_owner_alone(shared: Studio, write: Write) -> None:
    [text] = write(1)
    kept = shared.settings.cache / "resumable"

    def steps(owner: str, **params: Any) -> float | None:
        job = _run(shared, "demo.tree", text, owner, key="the work", **params)
        return job.measurements["steps"][0] if job.state == "done" else None

    assert steps(LOCAL, fail_at=4) is None
    [folder] = kept.iterdir()
    assert {path.name for path in folder.glob("[!.]*")} == {"1", "2", "3"}
    assert steps(VISITOR) == 5
    assert steps(LOCAL) == 2
    assert not list(kept.iterdir())
    assert steps(LOCAL) == 5


def test_unfinished_work_goes_with_the_last_job_that_left_it(studio: Studio, write: Write) -> None:
    kept = studio.settings.cache / "resumable"
    [text] = write(1)
    first, again = (_run(studio, "demo.tree", text, key="a", fail_at=at) for at in (2, 3))
    _run(studio, "demo.tree", text, key="b", fail_at=2)
    assert len(list(kept.iterdir())) == 2
    studio.delete_job(LOCAL, first.id)
    assert len(list(kept.iterdir())) == 2  # another attempt is at the same work
    studio.delete_job(LOCAL, again.id)
    assert len(list(kept.iterdir())) == 1
    studio.delete_session(LOCAL, session_of(studio))
    assert not list(kept.iterdir())


def test_work_survives_a_stop_of_the_worker(worker_studio: Studio, write: Write) -> None:
    [text] = write(1)
    job = _run(worker_studio, "demo.tree", text, key="work", fail_at=3)
    assert job.error == "It stops here"
    ids = worker_studio.submit(LOCAL, session_of(worker_studio), "demo.crash", [[text]], {})
    worker_studio.wait(LOCAL, ids, poll=0.01)
    job = _run(worker_studio, "demo.tree", text, key="work")
    assert job.measurements["steps"][0] == 3


def test_clean_frees_unfinished_work_after_a_month_and_unpacked_archives(
    studio: Studio, write: Write, model: Path
) -> None:
    cache = studio.settings.cache
    for key in ("old", "new"):
        _run(studio, "demo.tree", write(1)[0], key=key, fail_at=2)
    _run(studio, "demo.model", _zip(model))
    old, new = sorted((cache / "resumable").iterdir())
    (old / "block").write_bytes(b"x" * 1000)
    os.utime(old, (0, time.time() - 31 * 24 * 3600))
    assert studio.clean() >= 1000
    assert list((cache / "resumable").iterdir()) == [new]
    assert not (cache / "unpacked").exists()


# What strangers may not set


def test_what_names_something_on_the_machine_is_the_persons_at_it_alone(
    shared: Studio, model: Path
) -> None:
    assert _run(shared, "demo.model", model, place="/etc").state == "done"
    assert _run(shared, "demo.model", model, VISITOR).state == "done"
    with pytest.raises(UserError, match="Place names something on the studio's own machine"):
        _run(shared, "demo.model", model, VISITOR, place="/etc")


def test_where_nobody_else_is_everything_may_be_set(studio: Studio, model: Path) -> None:
    assert _run(studio, "demo.model", model, place="/etc").state == "done"


def test_what_an_engine_keeps_goes_when_another_one_runs(
    studio: Studio, model: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.studio.jobs.engines import ModelEngine

    forgotten: list[str] = []
    monkeypatch.setattr(
        ModelEngine, "forget", staticmethod(lambda: forgotten.append("model")), raising=False
    )
    _run(studio, "demo.model", model)
    _run(studio, "demo.model", model)
    assert not forgotten
    _run(studio, "demo.big", write(1)[0])
    assert forgotten == ["model"]
