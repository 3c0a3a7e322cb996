"""What the page does with presets and recipes, and that nobody does it to other people's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import gradio as gr
import pytest

from engines.base import UserError
from studio.actions import Actions
from studio.config import LOCAL
from studio.jobs.service import Studio
from studio.jobs.views import NotFound
from studio.panels.presets import PresetsPanel
from studio.panels.recipes import RecipesPanel, RunsPanel
from studio.recipes.book import RecipeBook
from studio.recipes.recipe import Step
from studio.scene import Panel, Scene, View
from studio.settings_actions import TAB as RECIPES
from studio.tabs.recipes import RecipesTab
from tests.engines_for_tests import InvertEngine
from tests.studio.scenes import ENGINE, TAB, finished, inbox_of, scene_of, texts

pytestmark = pytest.mark.usefixtures("tiny_engine")
STRANGER = "f" * 32


@pytest.fixture(autouse=True)
def blocks() -> Iterator[None]:
    """Panels make their components inside a page."""
    with gr.Blocks():
        yield


@pytest.fixture
def actions(studio: Studio) -> Actions:
    return Actions(studio, inbox_of(studio), {})


def _on_form(scene: Scene, **params: object) -> Scene:
    scene.form = ENGINE, partial(dict, params)
    return scene


def _text(panel: Panel, scene: Scene) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", panel.html(scene) or "").split())


def test_settings_of_form_and_job_become_presets(
    actions: Actions, studio: Studio, tmp_path: Path
) -> None:
    scene = _on_form(scene_of(studio), repeat=3)
    panel = PresetsPanel(TAB, [InvertEngine])
    assert "<select" not in (panel.html(scene) or "")
    actions.do({"do": "preset-save-form", "tab": TAB, "text": " Thrice <x> "}, scene)
    [job] = finished(scene, texts(tmp_path, "a.txt"), end="mark")
    actions.do({"do": "preset-save", "key": job.id, "text": "Marked"}, scene)
    marked, thrice = studio.presets.list(LOCAL)
    assert (thrice.name, thrice.params["repeat"]) == ("Thrice <x>", 3)
    assert marked.params["end"] == "mark"
    html = panel.html(scene) or ""
    assert f'value="{marked.id}" selected' in html
    assert "Thrice &lt;x&gt;" in html

    effect = actions.do({"do": "preset-apply", "tab": TAB, "key": thrice.id}, scene)
    assert (effect.engine, effect.params["repeat"]) == (ENGINE, 3)
    effect = actions.do({"do": "preset-apply", "tab": TAB, "key": ""}, scene)
    assert (effect.engine, effect.params) == (ENGINE, {})
    studio.presets.save(LOCAL, ENGINE, "Old", {"repeat": 2, "colour": "red"})
    old = studio.presets.find(LOCAL, "Old")
    effect = actions.do({"do": "preset-apply", "tab": TAB, "key": old.id}, scene)
    assert effect.said == "The form now holds the preset Old; no longer known and left out: colour"
    actions.do({"do": "preset-rename", "key": old.id, "text": "New"}, scene)
    actions.do({"do": "preset-remove", "key": thrice.id}, scene)
    assert [preset.name for preset in studio.presets.list(LOCAL)] == ["Marked", "New"]

    stranger = scene_of(studio, STRANGER)
    assert studio.presets.list(STRANGER) == []
    for data in (
        {"do": "preset-apply", "key": old.id}, {"do": "preset-rename", "key": old.id, "text": "x"},
        {"do": "preset-remove", "key": old.id},
        {"do": "preset-save", "key": job.id, "text": "x"},
        {"do": "recipe-add", "key": job.id, "text": "x"},
    ):  # fmt: skip
        with pytest.raises(NotFound):
            actions.do(data, stranger)
    with pytest.raises(UserError, match="A name is needed"):
        actions.do({"do": "preset-save-form", "tab": TAB, "text": " "}, scene)


def test_a_recipe_is_put_together_changed_and_run(
    actions: Actions, studio: Studio, tmp_path: Path
) -> None:
    scene = _on_form(scene_of(studio, view=View(tab=RECIPES)), upper=True)
    book = RecipeBook(studio.factory)
    [job] = finished(scene, texts(tmp_path, "a.txt"), end="mark")
    said = actions.do({"do": "recipe-add-form", "text": "Mine"}, scene).said
    assert said == "Invert is now step 1 of the recipe Mine"
    assert actions.do({"do": "recipe-add", "key": job.id, "text": "Mine"}, scene).said.startswith(
        "Invert is now step 2"
    )
    actions.do({"do": "recipe-step", "recipe": "Mine", "key": f"engine:{ENGINE}"}, scene)
    actions.do({"do": "recipe-step-up", "recipe": "Mine", "step": "1"}, scene)
    assert book.find(LOCAL, "Mine").steps == (
        Step(ENGINE, {"end": "mark"}), Step(ENGINE, {"upper": True}), Step(ENGINE, {}),
    )  # fmt: skip
    effect = actions.do({"do": "recipe-step-use", "recipe": "Mine", "step": "0"}, scene)
    assert (effect.tab, effect.engine, effect.params) == (TAB, ENGINE, {"end": "mark"})
    actions.do({"do": "recipe-step-out", "recipe": "Mine", "step": "2"}, scene)
    with pytest.raises(UserError, match=r"^Step 3 \(UPSR\) takes pictures, and step 2"):
        actions.do({"do": "recipe-step", "recipe": "Mine", "key": "engine:superres.upsr"}, scene)
    actions.do({"do": "recipe-copy", "recipe": "night-raw", "text": "My night"}, scene)
    actions.do({"do": "recipe-rename", "recipe": "My night", "text": "Nights"}, scene)
    actions.do({"do": "recipe-remove", "recipe": "Nights"}, scene)
    shown = _text(RecipesPanel(studio), scene)
    assert "Mine yours Invert End Mark" in shown
    assert "Nights" not in shown

    runs = RunsPanel()
    run = {"do": "recipe-run", "recipe": "Mine"}
    with pytest.raises(UserError, match="Add files first"):
        actions.do(run, scene)
    sent = tmp_path / "sent" / "b.txt"
    sent.parent.mkdir()
    sent.write_text("abc")
    inbox = inbox_of(studio)
    inbox.add_uploads(scene.session.id, RECIPES, [sent])
    actions.do(run, scene)
    batch = scene.view.recipe_batch
    ids = [item.id for item in studio.batch(LOCAL, batch)]
    first, last = studio.wait(LOCAL, ids, poll=0.01)
    assert last.outputs[0].path.read_text() == "!ABC"
    assert first.inputs[0].path.is_file()
    assert [file.upload for file in inbox.files(scene.session.id, RECIPES)] == [False]
    shown = _text(runs, scene_of(studio, view=View(tab=RECIPES)))
    assert shown.startswith("Mine 1 of 1 file done")
    assert _text(runs, scene_of(studio, STRANGER, View(tab=RECIPES))).startswith("A recipe sends")
    bad = texts(tmp_path, "c.txt")[0]
    bad.write_bytes(b"\xff")
    inbox.add_known(scene.session.id, RECIPES, [bad])
    actions.do(run, scene)
    jobs = studio.batch(LOCAL, scene.view.recipe_batch)
    studio.wait(LOCAL, [item.id for item in jobs], poll=0.01)
    fresh = scene_of(studio, view=scene.view)
    assert "1 of 2 files done, 1 failed" in _text(runs, fresh)
    bad.write_text("mended")
    actions.do({"do": "recipe-retry", "key": scene.view.recipe_batch}, fresh)
    studio.wait(LOCAL, [item.id for item in jobs], poll=0.01)
    assert "2 of 2 files done" in _text(runs, scene_of(studio, view=scene.view))


def test_a_recipe_file_among_uploads_is_kept_as_one(studio: Studio, tmp_path: Path) -> None:
    tab = RecipesTab()
    tab.build(studio, inbox_of(studio))
    recipe, text = tmp_path / "mine.toml", texts(tmp_path, "a.txt")[0]
    recipe.write_text(f'[[step]]\nengine = "{ENGINE}"\n')
    assert tab.take_recipes(LOCAL, [recipe, text]) == ([text], ["mine"])
    assert RecipeBook(studio.factory).find(LOCAL, "mine").steps == (Step(ENGINE, {}),)
    recipe.write_text("nonsense")
    with pytest.raises(UserError, match="This recipe cannot be read"):
        tab.take_recipes(LOCAL, [recipe])


def test_a_tab_begins_with_one_preset(actions: Actions, studio: Studio) -> None:
    scene = scene_of(studio)
    panel = PresetsPanel(TAB, [InvertEngine])
    one, two = (
        studio.presets.save(LOCAL, ENGINE, name, {"repeat": n}) for n, name in ((2, "a"), (3, "b"))
    )
    for preset in (one, two):
        actions.do({"do": "preset-apply", "tab": TAB, "key": preset.id}, scene)
        said = actions.do({"do": "preset-start", "tab": TAB, "key": preset.id}, scene).said
        assert said == f"A new session begins with {preset.name} on this tab"
    assert {p.engine: p.name for p in studio.presets.starting(LOCAL).values()} == {ENGINE: "b"}
    assert "b (at the start)" in _text(panel, scene)
    assert "No longer start with it" in _text(panel, scene)
    kept = studio.presets.save(LOCAL, ENGINE, "b", {"repeat": 4})  # changed, and still the one
    assert studio.presets.starting(LOCAL)[ENGINE].params == {"repeat": 4}
    actions.do({"do": "preset-start", "tab": TAB, "key": kept.id}, scene)
    assert studio.presets.starting(LOCAL) == {}
    with pytest.raises(NotFound):
        actions.do({"do": "preset-start", "tab": TAB, "key": one.id}, scene_of(studio, STRANGER))


def test_a_preset_goes_out_as_a_file_and_comes_in(actions: Actions, studio: Studio) -> None:
    scene = scene_of(studio)
    text = studio.presets.save(LOCAL, ENGINE, "Küste", {"repeat": 3}).to_json()
    load = {"do": "preset-load", "tab": TAB, "name": "other.json", "text": text}
    effect = actions.do(load, scene)
    assert (effect.engine, effect.params["repeat"]) == (ENGINE, 3)
    assert [one.name for one in studio.presets.list(LOCAL)] == ["Küste", "Küste 2"]
    record = json.dumps({"engine": ENGINE, "params": {"repeat": 2}})  # as beside a result
    actions.do(load | {"text": record, "name": "a.json"}, scene)
    assert studio.presets.find(LOCAL, "a").params["repeat"] == 2
    for wrong, said in (
        ("", "This is no preset"),
        ("[1]", "This is no preset"),
        ('{"engine": "demo.invert"}', "This is no preset"),
        (text.replace('"version": 1', '"version": 2'), "newer Noise Studio"),
        (text.replace('"repeat": 3', '"repeat": "x"'), "repeat"),
        (text.replace('"demo.invert"', '"raw.gone"'), "no engine"),
    ):
        with pytest.raises(UserError, match=said):
            actions.do(load | {"text": wrong}, scene)
    assert len(studio.presets.list(LOCAL)) == 3
