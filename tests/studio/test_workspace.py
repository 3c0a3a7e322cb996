"""Names, moves that never overwrite, and what a crash leaves of them."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from studio.workspace import (
    Move,
    free_name,
    printable,
    remove_tree,
    retract,
    reveal,
    safe_name,
    stage,
    tree_bytes,
    uploads_lock,
)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.nef", "a.nef"),
        ("../../etc/passwd", "passwd"),
        ("/etc/shadow", "shadow"),
        ("..\\..\\boot.ini", "_.._boot.ini"),
        ("C:\\a.nef", "C__a.nef"),
        ("..", "file"),
        ("...", "file"),
        ("", "file"),
        (" .hidden. ", "hidden"),
        ("a\x00b\n.nef", "a_b_.nef"),
        ("fake\u202egnp.exe", "fake_gnp.exe"),
        ("caf\udce9.nef", "caf_.nef"),
        ("con.txt", "_con.txt"),
        ("LPT1", "_LPT1"),
        ("Küste 日本 🙂.dng", "Küste 日本 🙂.dng"),
        ('a<b>c:"d|e?f*.dng', "a_b_c__d_e_f_.dng"),
    ],
)
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize("letter", ["a", "日", "🙂"])
def test_long_names_are_cut_to_what_a_file_system_takes(tmp_path: Path, letter: str) -> None:
    name = safe_name(letter * 300 + ".dng")
    assert name.endswith(".dng")
    assert free_name(tmp_path, name, {tmp_path / name}).name.endswith("-2.dng")
    (tmp_path / f".noise-studio-{name}-2.partial").write_bytes(b"")  # with all that is added to it


def test_names_for_people_can_be_encoded() -> None:
    assert printable("caf\udce9.nef") == "caf?.nef"
    assert printable("Küste.nef") == "Küste.nef"


def test_free_names(tmp_path: Path) -> None:
    assert free_name(tmp_path, "a.dng", set()) == tmp_path / "a.dng"
    (tmp_path / "a.dng").write_bytes(b"")
    os.symlink("nowhere", tmp_path / "a-2.dng")  # a link that leads nowhere is a name as well
    assert free_name(tmp_path, "a.dng", {tmp_path / "a-3.dng"}) == tmp_path / "a-4.dng"


@pytest.fixture(params=["links", "no links"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a file system that knows hard links, or on one that does not (exFAT)."""
    if request.param == "no links":

        def link(source: object, target: object) -> None:
            if os.path.lexists(str(target)):
                raise FileExistsError
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)
    made = tmp_path / "out"
    made.mkdir()
    return made


def _move(folder: Path, content: bytes = b"ours", name: str = "a.dng") -> Move:
    source = folder.with_name("source")
    source.write_bytes(content)
    staged = stage(source, folder, "job-0")
    source.unlink()
    return Move(staged, folder / name, hashlib.sha256(content).hexdigest())


def test_a_file_appears_whole_and_takes_nobodys_place(folder: Path) -> None:
    (folder / "a.dng").write_bytes(b"theirs")
    assert not reveal(_move(folder))
    assert (folder / "a.dng").read_bytes() == b"theirs"
    move = _move(folder, name="b.dng")
    assert reveal(move)
    move.staged.unlink(missing_ok=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "a.dng": b"theirs",
        "b.dng": b"ours",
    }


@pytest.mark.parametrize("step", ["staged", "held", "revealed"])
def test_a_move_that_was_never_recorded_leaves_nothing(folder: Path, step: str) -> None:
    move = _move(folder)
    if step == "held":  # killed between the empty file that holds the name and the move over it
        move.final.touch()
    if step == "revealed":
        assert reveal(move)
    retract(move)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("staged", [True, False])
def test_a_strangers_file_of_the_same_name_is_left_alone(folder: Path, staged: bool) -> None:
    move = _move(folder)
    if not staged:
        move.staged.unlink()
    move.final.write_bytes(b"theirs")
    retract(move)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.dng": b"theirs"}


def test_a_strangers_link_or_folder_of_the_same_name_is_left_alone(folder: Path) -> None:
    elsewhere = folder.with_name("elsewhere")
    elsewhere.write_bytes(b"ours")
    move = _move(folder)
    move.final.symlink_to(elsewhere)
    retract(move)
    assert move.final.is_symlink()
    assert elsewhere.read_bytes() == b"ours"
    move = _move(folder, name="b.dng")
    move.final.mkdir()
    retract(move)
    assert move.final.is_dir()


def test_many_movers_never_share_a_name(folder: Path) -> None:
    movers, names = 8, set[Path]()
    barrier = threading.Barrier(movers)

    def move(number: int) -> None:
        source = folder.with_name(f"source-{number}")
        source.write_bytes(b"%d" % number)
        staged = stage(source, folder, f"{number}-0")
        barrier.wait()
        while True:
            final = free_name(folder, "a.dng", set())
            if reveal(Move(staged, final, "")):
                break
        assert final.read_bytes() == b"%d" % number
        names.add(final)

    threads = [threading.Thread(target=move, args=(number,)) for number in range(movers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == movers


def test_a_copy_that_does_not_fit_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").write_bytes(b"x")
    (tmp_path / "out").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", _raise(OSError(errno.EXDEV, "another device")))
        patch.setattr("shutil.copyfile", _raise(OSError(errno.ENOSPC, "full")))
        with pytest.raises(OSError, match="full"):
            stage(tmp_path / "source", tmp_path / "out", "job-0")
    assert not list((tmp_path / "out").iterdir())


def _raise(error: Exception) -> object:
    def raising(*_: object, **__: object) -> None:
        raise error

    return raising


def test_sizes_and_removal_of_folders(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"12345")
    (tmp_path / "a" / "b" / "two").write_bytes(b"123")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    assert tree_bytes(tmp_path / "a" / "b") == 3
    assert 8 <= tree_bytes(tmp_path / "a") < 8 + 4096  # a link counts as itself, not its folder
    assert tree_bytes(tmp_path / "nowhere") == 0
    remove_tree(tmp_path / "a")
    remove_tree(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_the_uploads_lock_keeps_other_threads_out(tmp_path: Path) -> None:
    inside = threading.Event()
    order: list[str] = []

    def other() -> None:
        inside.wait()
        with uploads_lock(tmp_path / "uploads"):
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    with uploads_lock(tmp_path / "uploads"), uploads_lock(tmp_path / "elsewhere"):
        inside.set()
        thread.join(timeout=0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]
