"""Folders that count as one thing: what is in them, and what tells one state from another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.base import Cancelled, UserError
from studio import folders
from studio.folders import content, files_below, identity, is_model, models_in, tree_facts


def _go_on() -> None:
    """Nobody asks for a stop."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a config, a large file and one in a folder of its own."""
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"w" * (2 << 20))
    (folder / "deep" / "vocab.txt").write_text("a b")
    return folder


def test_a_model_is_a_folder_with_a_config(model: Path) -> None:
    assert is_model(model)
    assert not is_model(model / "deep")
    assert not is_model(model / "config.json")
    assert not is_model(model / "nowhere")


def test_files_are_listed_by_name_without_hidden_ones(model: Path) -> None:
    (model / ".git").mkdir()
    (model / ".git" / "HEAD").write_text("main")
    (model / ".DS_Store").write_text("x")
    names = [path.relative_to(model).as_posix() for path in files_below(model)]
    assert names == ["config.json", "deep/vocab.txt", "model.safetensors"]
    assert tree_facts(model)[0] == 2 + 3 + (2 << 20)


def test_more_files_than_a_model_has_are_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_MOST", 2)
    with pytest.raises(UserError, match="model holds more than 2 files"):
        files_below(model)


Change = Callable[[Path], object]


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda m: (m / "new.txt").write_text(""), True),
        (lambda m: (m / "deep" / "vocab.txt").unlink(), True),
        (lambda m: (m / "deep").rename(m / "other"), True),
        (lambda m: os.utime(m / "model.safetensors", ns=(1, 1)), True),
        (lambda m: (m / "model.safetensors").write_bytes(b"w" * (3 << 20)), True),
        (lambda m: _same_time(m / "config.json", "[]"), True),  # small files are read
        (lambda m: (m / ".hidden").write_text("x"), False),
        (lambda m: (m / "config.json").read_text(), False),
    ],
)
def test_what_changes_the_identity_of_an_input(model: Path, change: Change, seen: bool) -> None:
    before = identity(model, _go_on)
    assert before[1] == 5 + (2 << 20)
    change(model)
    assert (identity(model, _go_on)[0] != before[0]) is seen


def _same_time(path: Path, text: str) -> None:
    times = path.stat()
    path.write_text(text)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_an_output_is_hashed_by_names_and_contents_alone(model: Path, tmp_path: Path) -> None:
    before = content(model, _go_on)
    os.utime(model / "config.json", ns=(1, 1))
    assert content(model, _go_on) == before
    model.rename(tmp_path / "renamed")
    assert content(tmp_path / "renamed", _go_on) == before
    _same_time(tmp_path / "renamed" / "config.json", "[]")
    assert content(tmp_path / "renamed", _go_on)[0] != before[0]


def test_an_output_holds_no_links(model: Path) -> None:
    (model / "link.json").symlink_to(model / "config.json")
    with pytest.raises(ValueError, match="is no plain file"):
        content(model, _go_on)


@pytest.mark.parametrize("look", [identity, content])
def test_a_long_look_can_be_stopped(
    model: Path, look: Callable[[Path, Callable[[], None]], tuple[str, int]]
) -> None:
    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        look(model, stop)


def test_a_folder_of_models_holds_folders_and_zips(model: Path, tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    assert [path.name for path in models_in(tmp_path)] == ["b.zip", "model"]
