"""What people type, taken apart, and the names that are made of it."""

from __future__ import annotations

import pytest

from engines.base import UserError
from engines.separation.asked import asked
from engines.separation.names import file_names, label, labels
from engines.separation.params import ClipSepParams, Mode


def _asked(
    *query: str, mode: Mode = "keep", negative: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], tuple[str, ...], Mode]:
    found = asked(ClipSepParams(query=query, mode=mode, negative=negative))
    return found.queries, found.negative, found.mode


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("piano", "piano"),
        ("  Only the violin, please. ", "violin"),
        ("just the drums", "drums"),
        ("a dog barking", "a dog barking"),
        ("someone saying no", "someone saying no"),
        ("notes of a flute", "notes of a flute"),
        ("ein bellender Hund", "ein bellender Hund"),
    ],
)
def test_a_sound_is_kept(text: str, query: str) -> None:
    assert _asked(text) == ((query,), (), "keep")


@pytest.mark.parametrize(
    "text",
    [
        "everything but speech",
        "Everything except the speech",
        "all but speech",
        "no speech",
        "without speech",
        "without any speech!",
        "remove the speech",
        "get rid of speech, please",
    ],
)
def test_a_removal_is_understood(text: str) -> None:
    assert _asked(text) == (("speech",), (), "remove")
    assert _asked(text, mode="remove") == (("speech",), (), "remove")


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("ohne Schlagzeug", "Schlagzeug"),
        ("alles außer Regen", "Regen"),
        ("tout sauf le piano", "le piano"),
        ("без барабанов", "барабанов"),
    ],
)
def test_a_removal_in_other_languages(text: str, query: str) -> None:
    assert _asked(text) == ((query,), (), "remove")


def test_what_must_not_be_there_beside_what_is_kept() -> None:
    assert _asked("piano", "no drums") == (("piano",), ("drums",), "keep")
    assert _asked("piano without drums") == (("piano",), ("drums",), "keep")
    assert _asked("birds but not crows", "rain") == (("birds", "rain"), ("crows",), "keep")
    assert _asked("piano", negative=("the drums", "Drums")) == (("piano",), ("drums",), "keep")
    with pytest.raises(UserError, match=r"piano.*asked for and unwanted"):
        _asked("piano", "no piano")


def test_each_sound_once_and_in_order() -> None:
    assert _asked("rain", "piano", "Rain", "", " ")[0] == ("rain", "piano")
    assert asked(ClipSepParams(), pictures=True).queries == ()


def test_names_of_files() -> None:
    typed = ["piano", "Piano!", "a/b\\c", "", "🎹", "עברית", "remainder"]
    made = ["piano", "Piano 2", "a b c", "sound 4", "sound 5", "עברית", "remainder 2"]
    assert file_names(typed, ["remainder"]) == made
    assert file_names(["\u202egnp.exe"]) == ["gnp exe"]
    [long] = file_names(["ж" * 2000])
    assert long == "ж" * 20


def test_labels_fit_and_differ() -> None:
    assert label("piano") == "piano"
    assert len(label("x" * 2000)) == 28
    found = labels(["x" * 50, "x" * 60, "a\nb"])
    assert len(set(found)) == 3
    assert found[2] == "a b"
