"""Files are looked at in another process; one that kills it costs that one file its facts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from engines.base import UserError
from studio.reader import FileReader, Look

_PATIENCE = 60.0  # seconds, for a machine that has other things to do


def read_text(path: Path) -> Sequence[str]:
    """What a file asks for; it runs in the reader's process."""
    text = path.read_text()
    if text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "refuse":
        raise UserError(f"{path.name} is nothing for us")
    if text == "surprise":
        raise KeyError(text)
    return text, str(os.getpid())


@pytest.fixture
def reader() -> FileReader:
    return FileReader(read_text)


def _seen(reader: FileReader, path: Path) -> Look:
    deadline = time.monotonic() + _PATIENCE
    while (look := reader.look(path)).pending:
        assert time.monotonic() < deadline, "the reader never came to an end"
        time.sleep(0.01)
    return look


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_look_answers_at_once_and_knows_more_later(reader: FileReader, tmp_path: Path) -> None:
    path = _file(tmp_path, "a.txt", "facts")
    assert reader.look(path) == Look(pending=True)
    facts = _seen(reader, path).facts
    assert facts[0] == "facts"
    assert facts[1] != str(os.getpid())


def test_a_file_that_kills_its_reader_is_the_only_one_with_a_problem(
    reader: FileReader, tmp_path: Path
) -> None:
    paths = [
        _file(tmp_path, name, text)
        for name, text in (
            ("a", "one"),
            ("bad", "die"),
            ("c", "three"),
            ("worse", "die"),
            ("e", "5"),
        )
    ]
    for path in paths:
        reader.look(path)
    looks = [_seen(reader, path) for path in paths]
    assert [look.facts[:1] for look in looks] == [("one",), (), ("three",), (), ("5",)]
    assert [look.problem for look in looks] == [
        "", "bad cannot be read; copy it again, or remove it",
        "", "worse cannot be read; copy it again, or remove it", "",
    ]  # fmt: skip


def test_a_refusal_is_shown_as_it_is_and_a_surprise_in_a_sentence(
    reader: FileReader, tmp_path: Path
) -> None:
    refused, odd = _file(tmp_path, "r", "refuse"), _file(tmp_path, "s", "surprise")
    assert _seen(reader, refused).problem == "r is nothing for us"
    assert _seen(reader, odd).problem == "s cannot be read (KeyError); remove it"


def test_a_changed_file_is_read_anew_and_a_lost_one_is_told(
    reader: FileReader, tmp_path: Path
) -> None:
    path = _file(tmp_path, "a.txt", "before")
    assert _seen(reader, path).facts[0] == "before"
    path.write_text("afterwards")
    assert _seen(reader, path).facts[0] == "afterwards"
    path.unlink()
    assert reader.look(path).problem == "a.txt is no longer there; remove it from the list"


def test_the_process_is_kept_from_file_to_file(reader: FileReader, tmp_path: Path) -> None:
    first, second = _file(tmp_path, "a", "1"), _file(tmp_path, "b", "2")
    assert _seen(reader, first).facts[1] == _seen(reader, second).facts[1]
