"""The catalogues of other languages: what they hold fits, and they know nearly all of the forms."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engines import registry

ROOT = Path(__file__).parents[2]
CATALOGUES = sorted((ROOT / "assets" / "languages").glob("*.json"))
PLACE = re.compile(r"\{\d\}")


@pytest.fixture(params=CATALOGUES, ids=lambda path: path.stem)
def catalogue(request: pytest.FixtureRequest) -> dict[str, str]:
    return json.loads(request.param.read_text(encoding="utf-8"))


def test_a_language_that_is_offered_has_a_catalogue() -> None:
    offered = re.search(r"NAMES = \{(.*?)\}", (ROOT / "assets/js/language.js").read_text("utf-8"))
    assert offered is not None
    names = set(re.findall(r"(\w+):", offered[1]))
    assert names == {"en", *(path.stem for path in CATALOGUES)}


def test_places_of_a_text_are_in_its_translation(catalogue: dict[str, str]) -> None:
    for english, own in catalogue.items():
        assert own, english
        assert sorted(PLACE.findall(english)) == sorted(PLACE.findall(own)), english


def test_forms_are_translated(catalogue: dict[str, str]) -> None:
    texts = set[str]()
    for engine_id in registry.engine_ids():
        engine = registry.engine_class(engine_id)
        fields = engine.Params.model_fields.values()
        texts |= {engine.title, *(field.title or "" for field in fields)}
        texts |= {field.description or "" for field in fields}
    texts = {text for text in texts if re.search("[a-z]{3}", text)}
    missing = sorted(texts - catalogue.keys())
    assert len(missing) <= 0.1 * len(texts), missing
