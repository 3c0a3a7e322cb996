"""Presets for programs: kept, named in a call, told to agents; nobody sees another's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines import registry
from engines.base import UserError
from studio.api.calls import PRESET, Calls
from studio.api.errors import code_of
from studio.api.tools import DELETE, LIST, SAVE, Tools, _tools
from studio.config import LOCAL
from studio.jobs.service import Studio
from studio.visitors import Visitors
from tests.studio.scenes import ENGINE, texts

pytestmark = pytest.mark.usefixtures("tiny_engine")
OTHER = "f" * 32


@pytest.fixture
def calls(studio: Studio) -> Calls:
    return Calls(studio)


def test_a_preset_is_kept_named_and_deleted(calls: Calls, studio: Studio, tmp_path: Path) -> None:
    [path] = texts(tmp_path, "a.txt")
    kept = calls.save_preset(LOCAL, ENGINE, " Loud ", {"upper": True, "repeat": 2})
    assert (kept["name"], kept["params"]["repeat"], kept["starts"]) == ("Loud", 2, False)
    assert calls.presets(LOCAL) == calls.presets(LOCAL, ENGINE) == [kept]
    [job] = calls.submit(LOCAL, ENGINE, [str(path)], {PRESET: "Loud", "repeat": 1})["jobs"]
    [done] = studio.wait(LOCAL, [job], poll=0.01)
    assert (done.params["upper"], done.params["repeat"]) == (True, 1)  # what is given counts
    assert done.outputs[0].path.read_text() == "TXT.A"
    assert calls.delete_preset(LOCAL, ENGINE, "Loud") == kept
    assert calls.presets(LOCAL) == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({PRESET: "Gone"}, "not_found"),
        ({PRESET: "/etc/passwd.json"}, "not_found"),  # never a path
        ({PRESET: 3}, "invalid"),
        ([], "invalid"),
    ],
)
def test_what_cannot_be_used_is_told(calls: Calls, tmp_path: Path, params: Any, code: str) -> None:
    [path] = texts(tmp_path, "a.txt")
    with pytest.raises(UserError) as told:
        calls.submit(LOCAL, ENGINE, [str(path)], params)
    assert code_of(told.value)[0] == code


def test_nobody_has_anybody_elses(calls: Calls) -> None:
    calls.save_preset(LOCAL, ENGINE, "Mine", {"repeat": 2})
    assert calls.presets(OTHER) == []
    with pytest.raises(UserError) as told:
        calls.delete_preset(OTHER, ENGINE, "Mine")
    assert code_of(told.value)[0] == "not_found"
    for engine in ("raw.none", "", None):
        with pytest.raises(UserError) as told:
            calls.save_preset(LOCAL, engine, "Mine", {})  # type: ignore[arg-type]
        assert code_of(told.value)[0] == "no_such_engine"


def test_agents_have_the_same(studio: Studio) -> None:
    tools = Tools(studio, Visitors(studio.settings))
    given = {"engine": ENGINE, "name": "Loud", "params": {"upper": True}}
    kept = tools._preset(SAVE, LOCAL, given)
    assert tools._preset(LIST, LOCAL, {})["presets"] == [kept]
    assert tools._preset(DELETE, LOCAL, given) == kept
    assert tools._preset(LIST, LOCAL, {"engine": ENGINE}) == {"presets": []}
    listed = {tool.name: tool.input_schema for tool in _tools(shared=True)}
    assert listed[SAVE]["required"] == ["engine", "name", "params"]
    assert PRESET in listed["demo_invert"]["properties"]


def test_no_engine_has_a_parameter_of_a_name_that_programs_use() -> None:
    for engine_id in registry.engine_ids():
        fields = registry.engine_class(engine_id).Params.model_fields
        assert not {PRESET, "files", "wait"} & set(fields), engine_id


def test_a_visitor_keeps_nothing_that_names_this_machine(studio: Studio) -> None:
    shared = Studio(replace(studio.settings, space=True))
    with pytest.raises(UserError, match="names something on the studio's own machine"):
        Calls(shared).save_preset(OTHER, "quantize.awq", "Mine", {"calibration": "/etc/passwd"})
