"""Language models that can be named by their id."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engines.base import UserError
from studio import language
from studio.config import Settings


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for models that ship."""
    monkeypatch.setattr(language, "BUNDLED", tmp_path / "bundled")
    return tmp_path / "bundled"


def _model(folder: Path, **card: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    if card:
        (folder / "studio.json").write_text(json.dumps(card))
    return folder


def test_bundled_and_pulled_models_are_known(settings: Settings, bundled: Path) -> None:
    _model(bundled / "lm-small", title="Small", licence="Apache-2.0", note="Trained here")
    _model(language.pulled_folder(settings) / "smollm2-135m")
    _model(language.pulled_folder(settings) / "lm-small", title="Not this one")
    _model(language.pulled_folder(settings) / ".noise-studio-half")
    (language.pulled_folder(settings) / "no-model").mkdir()
    small, pulled = language.known(settings)
    assert (small.id, small.title, small.state) == ("lm-small", "Small", "bundled")
    assert (small.licence, small.note, small.source) == ("Apache-2.0", "Trained here", "")
    assert (pulled.id, pulled.title, pulled.state) == ("smollm2-135m", "smollm2-135m", "pulled")
    assert pulled.bytes == 2
    assert language.find(settings, "lm-small") == small
    assert language.find(settings, "other") is None


@pytest.mark.parametrize("card", ["[]", "{", '{"title": null}', '"x"'])
def test_a_card_that_is_none_hides_no_model(settings: Settings, bundled: Path, card: str) -> None:
    (_model(bundled / "lm-small") / "studio.json").write_text(card)
    assert [model.title for model in language.known(settings)] == ["lm-small"]


def test_pulled_models_can_go_and_bundled_ones_stay(settings: Settings, bundled: Path) -> None:
    _model(bundled / "lm-small")
    pulled = _model(language.pulled_folder(settings) / "smollm2-135m")
    assert language.remove(settings, "smollm2-135m")
    assert not pulled.exists()
    assert not language.remove(settings, "smollm2-135m")
    with pytest.raises(UserError, match="ships with the studio"):
        language.remove(settings, "lm-small")


def test_nothing_is_known_where_nothing_is(settings: Settings, bundled: Path) -> None:
    assert language.known(replace(settings, home=bundled)) == []
