"""A part of the corpus against a real studio; `python -m tests.hostile.attack` does all of it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from engines.base import UserError
from studio.unpack import unpacked
from tests import fuzz
from tests.guided import explore
from tests.hostile.attack import attack
from tests.hostile.case import MODEL
from tests.hostile.corpus import write_corpus
from tests.hostile.models import archives


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:Duplicate name")  # on purpose
def test_harm_ends_in_a_sentence_or_a_result(tmp_path: Path) -> None:
    cases = write_corpus(tmp_path / "corpus")
    assert len(cases) > 200
    assert len({case.name for case in cases}) == len(cases)
    assert len(Counter(case.name.partition("/")[0] for case in cases)) == 8
    # Those of models load a library of half a minute; they are left to the command.
    chosen = [case for case in cases if case.engine != MODEL][::9]
    found = attack(chosen, tmp_path / "studio", patience=120.0)
    assert found.wrong == []
    assert sum(found.ended.values()) == len(chosen)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_archive_leads_out_and_each_wrong_one_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "sent").mkdir()
    cases = list(archives(tmp_path / "sent" / "archives"))
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    said: list[str] = []
    for number, case in enumerate(cases):
        try:
            model = unpacked(case.path, str(number), tmp_path / "cache", lambda: None)
        except UserError as error:
            said.append(str(error))
        else:
            assert {path.name for path in model.rglob("*")} <= {
                "config.json", "model.safetensors", "deep.txt", "a", "CON", "nul.txt",
            }  # fmt: skip
            assert not any(path.is_symlink() for path in model.rglob("*"))
    assert len(said) >= 3
    assert not any("\n" in sentence for sentence in said)
    assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts} == before
    assert not list((tmp_path / "cache").rglob("*escaped*"))


def test_forms_and_parameters_take_a_value_or_say_a_sentence() -> None:
    assert fuzz.fuzz_forms(3.0) == ""


def test_the_fuzzer_finds_what_is_no_sentence() -> None:
    def wrong(_value: object) -> None:
        raise KeyError("nobody foresaw this")

    with pytest.raises(KeyError):
        fuzz._only_sentences(wrong, 1)


def _deep(which: int, content: bytes) -> None:
    """A reader with a fault behind three checks, none of which random bytes pass together."""
    if content[:1] != b"R":
        return
    if content[1:2] != b"I":
        return
    if content[2:3] == b"F":
        raise ZeroDivisionError("planted")


@pytest.mark.parametrize("guided", [True, False])
def test_the_search_reaches_what_stands_behind_checks(guided: bool) -> None:
    found = explore(
        [b"seed", b"\0" * 8], _deep, [Path(__file__).parent], until=time.monotonic() + 60,
        tries=200_000, seed=7, guided=guided,
    )  # fmt: skip
    if not guided:
        assert found.wrong is None
        return
    assert found.wrong is not None
    assert found.wrong[1].startswith(b"RIF")
    assert isinstance(found.wrong[2], ZeroDivisionError)
    assert [content[:2] for _, content in found.kept].count(b"RI") == 1
    assert found.tries < 200_000


def test_every_reader_is_searched(tmp_path: Path) -> None:
    found = fuzz.readers(tmp_path)
    kinds = {suffix for suffix, _, _ in found}
    assert {"png", "flac", "dng", "mp4", "toml", "json"} <= kinds
    for suffix, whole, read in found:
        path = tmp_path / f"whole.{suffix}"
        path.write_bytes(whole)
        read(path)
