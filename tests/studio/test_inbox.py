"""The files chosen on a tab: moved out of Gradio's cache, kept, and gone when they should be."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from engines.base import UserError
from studio.inbox import Inbox
from studio.workspace import uploads_lock

SESSION, TAB = "s" * 32, "raw"


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "home" / "uploads")


@pytest.fixture(autouse=True)
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "uploads"
    folder.mkdir(parents=True)
    return folder


def _sent(tmp_path: Path, name: str, content: bytes = b"raw") -> Path:
    """A file as Gradio leaves it: alone in a folder of its cache."""
    folder = tmp_path / "gradio" / os.urandom(8).hex()
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    return folder / name


def _names(inbox: Inbox, session: str = SESSION, tab: str = TAB) -> list[str]:
    return [file.path.name for file in inbox.files(session, tab)]


def test_uploads_leave_the_cache(inbox: Inbox, tmp_path: Path, uploads: Path) -> None:
    sent = [_sent(tmp_path, "a.nef", b"one"), _sent(tmp_path, "a.nef", b"three")]
    inbox.add_uploads(SESSION, TAB, sent)
    files = inbox.files(SESSION, TAB)
    assert [(file.path.name, file.path.read_bytes(), file.upload) for file in files] == [
        ("a.nef", b"one", True),
        ("a.nef", b"three", True),
    ]
    assert [file.bytes for file in files] == [3, 5]
    assert all(file.path.is_relative_to(uploads / SESSION) for file in files)
    assert not list((tmp_path / "gradio").iterdir())
    assert files[0].key != files[1].key


def test_the_list_survives_a_restart_and_is_the_sessions_own(
    inbox: Inbox, tmp_path: Path, uploads: Path
) -> None:
    inbox.add_uploads(SESSION, TAB, [_sent(tmp_path, "a.nef")])
    again = Inbox(uploads)
    assert _names(again) == ["a.nef"]
    assert _names(again, tab="speech") == []
    assert _names(again, session="t" * 32) == []


def test_a_power_cut_in_the_list_loses_the_list_alone(
    inbox: Inbox, tmp_path: Path, uploads: Path
) -> None:
    inbox.add_uploads(SESSION, TAB, [_sent(tmp_path, "a.nef")])
    [listed] = (uploads / SESSION).rglob("*.json")
    listed.write_bytes(b"")
    assert _names(inbox) == []
    inbox.add_uploads(SESSION, TAB, [_sent(tmp_path, "b.nef")])
    assert _names(inbox) == ["b.nef"]


def test_what_cannot_be_kept_does_not_take_the_others_along(
    inbox: Inbox, tmp_path: Path, uploads: Path
) -> None:
    gone = _sent(tmp_path, "gone.nef")
    gone.unlink()
    with pytest.raises(UserError, match=r"^gone.nef could not be kept"):
        inbox.add_uploads(SESSION, TAB, [_sent(tmp_path, "a.nef"), gone])
    assert _names(inbox) == ["a.nef"]
    assert len([path for path in uploads.rglob("*") if path.name == "gone.nef"]) == 0


@pytest.mark.parametrize(
    "name", ["ü 日本 🙂.nef", "a\\..\\b.nef", "fake\u202egnp.nef", os.fsdecode(b"\xe9.nef")]
)
def test_odd_names_stay_inside_and_can_be_shown(
    inbox: Inbox, tmp_path: Path, uploads: Path, name: str
) -> None:
    inbox.add_uploads(SESSION, TAB, [_sent(tmp_path, name)])
    [file] = inbox.files(SESSION, TAB)
    assert file.path.resolve().is_relative_to(uploads / SESSION)
    assert file.path.name.encode().decode() == file.path.name
    assert "\\" not in file.path.name
    assert file.path.read_bytes() == b"raw"


def test_files_in_place_are_named_and_never_touched(inbox: Inbox, tmp_path: Path) -> None:
    shoot = tmp_path / "shoot"
    shoot.mkdir()
    for name in ("b.NEF", "a.nef", "notes.txt", os.fsdecode(b"caf\xe9.nef")):
        (shoot / name).write_bytes(b"raw")
    inbox.add_in_place(SESSION, TAB, f" '{shoot}' ", (".nef",))
    inbox.add_in_place(SESSION, TAB, str(shoot / "a.nef"), (".nef",))
    assert sorted(_names(inbox)) == sorted(["b.NEF", "a.nef", os.fsdecode(b"caf\xe9.nef")])
    key = next(file.key for file in inbox.files(SESSION, TAB) if file.path.name == "a.nef")
    inbox.remove(SESSION, TAB, key)
    assert len(_names(inbox)) == 2
    inbox.remove(SESSION, TAB)
    assert _names(inbox) == []
    assert len(list(shoot.iterdir())) == 4


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("", r"There is nothing at this path; check it: \(empty\)"),
        ("/nowhere/at/all", "There is nothing at this path; check it: /nowhere/at/all"),
        ("~nobody-of-that-name/x", "There is nothing at this path"),
        ("/" + "x" * 5000, "There is nothing at this path"),
        ("a\x00b", "There is nothing at this path"),
    ],
)
def test_paths_that_lead_nowhere(inbox: Inbox, typed: str, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{sentence}"):
        inbox.add_in_place(SESSION, TAB, typed, (".nef",))


def test_a_folder_without_such_files(inbox: Inbox, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"^No file that can be read here is in this place: empty$"):
        inbox.add_in_place(SESSION, TAB, str(tmp_path / "empty"), (".nef",))


def test_a_model_is_one_item_and_a_folder_of_them_several(inbox: Inbox, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "config.json").write_text("{}")
    inbox.add_in_place(SESSION, TAB, str(tmp_path / "models" / "b"), (".zip",), models=True)
    inbox.add_in_place(SESSION, TAB, str(tmp_path / "models"), (".zip",), models=True)
    assert _names(inbox) == ["b", "a"]
    assert [file.bytes for file in inbox.files(SESSION, TAB)] == [2, 2]
    inbox.remove(SESSION, TAB, inbox.files(SESSION, TAB)[0].key)
    assert (tmp_path / "models" / "b" / "config.json").is_file()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="There is no model in empty"):
        inbox.add_in_place(SESSION, TAB, str(tmp_path / "empty"), (".zip",), models=True)


def test_taking_an_upload_off_the_list_deletes_it(
    inbox: Inbox, tmp_path: Path, uploads: Path
) -> None:
    inbox.add_uploads(SESSION, TAB, [_sent(tmp_path, "a.nef"), _sent(tmp_path, "b.nef")])
    first = inbox.files(SESSION, TAB)[0]
    inbox.remove(SESSION, TAB, first.key)
    assert _names(inbox) == ["b.nef"]
    assert not first.path.parent.exists()
    inbox.remove(SESSION, TAB, "no such key")
    assert _names(inbox) == ["b.nef"]


def test_after_a_run_the_upload_is_named_where_its_job_keeps_it(
    inbox: Inbox, tmp_path: Path, uploads: Path
) -> None:
    inbox.add_uploads(SESSION, TAB, [_sent(tmp_path, "a.nef")])
    [waiting] = inbox.files(SESSION, TAB)
    kept = uploads / SESSION / "0123" / "a.nef"
    kept.parent.mkdir()
    waiting.path.rename(kept)
    inbox.submitted(SESSION, TAB, {waiting.path: kept})
    [file] = inbox.files(SESSION, TAB)
    assert (file.path, file.upload) == (kept, False)
    assert not waiting.path.parent.exists()
    inbox.remove(SESSION, TAB)
    assert kept.is_file()


def test_a_tab_that_is_none_is_refused(inbox: Inbox) -> None:
    for tab in ("../../etc", "", "RAW", "a/b"):
        with pytest.raises(UserError, match=r"^There is no such tab"):
            inbox.files(SESSION, tab)


def test_clearing_up_spares_what_is_listed_or_in_use(
    inbox: Inbox, tmp_path: Path, uploads: Path
) -> None:
    inbox.add_uploads(SESSION, TAB, [_sent(tmp_path, "listed.nef")])
    chosen = uploads / SESSION / "chosen"
    used, unused, lost = uploads / SESSION / "0123", uploads / SESSION / "4567", chosen / "89ab"
    for folder in (used, unused, lost):
        folder.mkdir()
        (folder / "a.nef").write_bytes(b"raw")
    (chosen / "raw.partial").write_text("[")
    with uploads_lock(uploads):
        inbox.sweep({used})
    assert _names(inbox) == ["listed.nef"]
    assert (used / "a.nef").is_file()
    assert not unused.exists()
    assert not lost.exists()
    assert not (chosen / "raw.partial").exists()


def _add_some(root: Path, cache: Path, number: int) -> None:
    inbox = Inbox(root)
    for one in range(20):
        inbox.add_uploads(SESSION, TAB, [_sent(cache, f"{number}-{one}.nef")])


def test_two_processes_add_to_one_list(inbox: Inbox, tmp_path: Path, uploads: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_add_some, args=(uploads, tmp_path / str(number), number))
        for number in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(_names(inbox)) == sorted(f"{n}-{one}.nef" for n in range(2) for one in range(20))
