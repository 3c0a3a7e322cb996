"""Recipes and presets: their files, whether steps fit, and the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engines.base import UserError
from studio.cli import main
from studio.config import LOCAL, Settings
from studio.jobs.service import Studio
from studio.jobs.views import NotFound
from studio.recipes.book import RecipeBook, shipped
from studio.recipes.recipe import Recipe, Step, checked, from_text, handed
from tests.engines_for_tests import INVERT
from tests.studio.test_cli import process

TWICE = """
name = "twice"
[[step]]
engine = "demo.invert"
params = { upper = true, without = ["q"] }
[[step]]
engine = "demo.invert"
[step.params]
end = "mark"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tmp_path` as the current folder, with files in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("abc")
    (tmp_path / "in" / "b.txt").write_bytes(b"\xff")
    (tmp_path / "twice.toml").write_text(TWICE)
    return tmp_path


def test_a_recipe_tells_what_goes_from_step_to_step() -> None:
    known = {recipe.name: handed(recipe) for recipe in shipped()}
    assert known["night-raw"] == ["RAW files", ""]
    assert known["night-print"] == ["RAW files", "pictures", ""]
    gone = Recipe("x", (Step("raw.yond"), Step("raw.gone"), Step("raw.yond", {"strength": "x"})))
    assert handed(gone) == ["", "", ""]


def test_a_file_is_read_as_it_was_written(tiny_engine: str) -> None:
    recipe = from_text(TWICE)
    assert recipe.steps == (
        Step(INVERT, {"upper": True, "without": ["q"]}), Step(INVERT, {"end": "mark"}),
    )  # fmt: skip
    odd = Recipe('a "name" = \\ ünï\t#', recipe.steps, "two\nlines", keep=True)
    assert from_text(checked(odd).to_toml()) == checked(odd)
    as_json = json.dumps({"name": "twice", **recipe.content()})
    assert from_text(as_json) == recipe
    assert from_text('[[step]]\nengine = "demo.invert"', "file").name == "file"
    assert from_text(
        '[[step]]\nengine = "demo.invert"\nparams = { limit = "automatic", repeat = 1 }', "x"
    ).steps == (Step(INVERT, {}),)  # defaults are not kept


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nonsense", "This recipe cannot be read: "),
        ("[" * 100_000, "This recipe cannot be read: "),
        ("{}", "This is no recipe; it needs a"),
        ("name = 'x'\nsteps = []", "This is no recipe; it needs a"),
        ("name = 'x'\ncolour = 1\n[[step]]\nengine = 'raw.yond'", "A recipe has no colour; "),
        ("name = 'x'\n[[step]]\nengine = 'raw.yond'\nstrength = 1", "A step has no strength; "),
        ("name = 'x'\n[[step]]\nengine = 3", "A step of a recipe says engine = "),
        ("name = ' '\n[[step]]\nengine = 'raw.yond'", "A name is needed; type one"),
        ("name = 'x'\n[[step]]\nengine = 'raw.preview'", "Step 1 names an engine that is not here"),
        (
            "name = 'x'\n[[step]]\nengine = 'raw.yond'\nparams = {strength = 9}",
            "Step 1 \\(YOND\\): strength: input should be less than or equal to 2, got 9",
        ),
    ],
)  # fmt: skip
def test_what_is_no_recipe_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{sentence}"):
        from_text(text)


def test_steps_have_to_fit_one_another() -> None:
    def chain(*steps: Step) -> Recipe:
        return checked(Recipe("x", steps))

    enlarge = Step("superres.upsr", {})
    with pytest.raises(UserError) as error:
        chain(Step("raw.yond", {}), enlarge)
    assert str(error.value) == (
        "Step 2 (UPSR) takes pictures, and step 1 (YOND) gives RAW files; choose another output "
        "there, or another step"
    )
    chain(Step("raw.yond", {"output": ["dng", "tiff"]}), enlarge)
    chain(Step("raw.yond", {}), Step("raw.noiser", {"denoise": "off"}), enlarge)
    chain(Step("separation.clipsep", {"query": ["dog"]}), Step("speech.storm", {}))
    with pytest.raises(UserError, match=r"^Step 2 \(StoRM\) takes sounds and films, and step 1"):
        chain(enlarge, Step("speech.storm", {}))


def test_those_that_ship_are_in_order() -> None:
    assert {"night-raw", "night-print", "interview", "scan-to-print"} == {
        recipe.name for recipe in shipped()
    }
    for recipe in shipped():
        assert recipe.about
        assert checked(recipe) == recipe


def test_recipes_are_kept_by_owner(tiny_engine: str, studio: Studio) -> None:
    book = RecipeBook(studio.factory)
    recipe = from_text(TWICE)
    kept = book.save(LOCAL, recipe)
    assert book.find(LOCAL, "twice") == kept
    with pytest.raises(NotFound):
        book.find("f" * 32, "twice")
    with pytest.raises(UserError, match="There is a recipe called twice already"):
        book.save(LOCAL, recipe)
    book.save(LOCAL, Recipe("other", recipe.steps[:1]))
    with pytest.raises(UserError, match="There is a recipe called other already"):
        book.rename(LOCAL, "twice", "other")
    book.rename(LOCAL, "twice", "thrice")
    with pytest.raises(NotFound):
        book.remove("f" * 32, "thrice")
    book.remove(LOCAL, "thrice")
    assert [r.name for r in book.list(LOCAL) if not r.shipped] == ["other"]
    for change in (lambda: book.remove(LOCAL, "night-raw"),
                   lambda: book.rename(LOCAL, "other", "night-raw")):  # fmt: skip
        with pytest.raises(UserError, match="night-raw ships with the studio"):
            change()


def test_a_recipe_from_the_command_line(
    tiny_engine: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipes", "add", "twice.toml"]) == 0
    assert "twice" in capsys.readouterr().out
    run = ["--executor", "inline", "run", "recipe:twice", "in", "gone.txt", "--out", "out"]
    assert main([*run, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    good, bad, gone = document["jobs"]
    assert (good["input"], good["state"]) == ("in/a.txt", "done")
    assert [file["path"] for file in good["outputs"]] == ["out/a.inverted.inverted.txt"]
    assert [step["state"] for step in good["steps"]] == ["done", "done"]
    assert [len(step["outputs"]) for step in good["steps"]] == [0, 1]
    assert bad["error"] == "This is no text; choose a text file: b.txt"
    assert [step["state"] for step in bad["steps"]] == ["failed", "cancelled"]
    assert gone["error"] == "There is no such file; check its name: gone.txt"
    assert (here / "out" / "a.inverted.inverted.txt").read_text() == "ABC!"
    assert main([*run[:3], "recipe:./twice.toml", "in/a.txt", "--out", "o2", "--keep-steps"]) == 0
    assert {path.name for path in (here / "o2").rglob("*.txt")} == {
        "a.inverted.txt", "a.inverted.inverted.txt",
    }  # fmt: skip
    assert capsys.readouterr().out.count("a.txt:") == 1  # one line a file
    assert main(["recipes", "show", "twice"]) == 0
    assert from_text(capsys.readouterr().out).name == "twice"
    assert main(["recipes", "rename", "twice", "two"]) == 0
    assert main(["recipes", "remove", "two"]) == 0
    capsys.readouterr()
    assert main([*run[:3], "recipe:two", "in/a.txt", "--out", "out"]) == 2
    assert "There is no recipe called two; there are" in capsys.readouterr().err
    assert main([*run, "--param", "x=1"]) == 2
    assert main([*run[:3], INVERT, "in/a.txt", "--out", "out", "--keep-steps"]) == 2


def test_a_preset_goes_through_a_file(
    tiny_engine: str, here: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["presets", "save", "Loud", INVERT, "--param", "upper=true"]) == 0
    assert main(["presets", "start", "Loud"]) == 0
    capsys.readouterr()
    assert main(["presets", "show", "Loud"]) == 0
    (here / "loud.json").write_text(capsys.readouterr().out)
    assert main(["presets", "add", "loud.json"]) == 2  # it is there
    assert main(["presets", "add", "loud.json", "--name", "Louder"]) == 0
    assert main(["presets", "add", "gone.json"]) == 2
    found = {one["name"]: one for one in _document(capsys, "presets")["presets"]}
    assert found["Louder"]["params"] == found["Loud"]["params"]
    assert [name for name, one in found.items() if one["starts"]] == ["Loud"]
    assert main(["presets", "add", "loud.json", "--replace"]) == 0  # and still begins its tab
    assert main(["presets", "start", "Loud", "--off"]) == 0
    assert Studio(settings).presets.starting(LOCAL) == {}


def test_presets_from_the_command_line(
    tiny_engine: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["presets", "save", "Loud", INVERT, "--param", "upper=true"]) == 0
    assert main(["presets", "save", "Loud", INVERT, "--param", "upper=true", "--json"]) == 0
    run = ["--executor", "inline", "run", INVERT, "in/a.txt", "--out", "out", "--json"]
    capsys.readouterr()
    assert main([*run, "--preset", "Loud", "--param", "end=dot"]) == 0
    assert (here / "out" / "a.inverted.txt").read_text() == "CBA."
    [job] = _document(capsys, "jobs")["jobs"]
    assert main(["presets", "save", "From a job", "--job", job["id"]]) == 0
    assert main(["presets", "rename", "From a job", "Dotted"]) == 0
    found = {p["name"]: p["params"] for p in _document(capsys, "presets")["presets"]}
    assert found.keys() == {"Loud", "Dotted"}
    assert (found["Dotted"]["end"], found["Dotted"]["upper"]) == ("dot", True)
    capsys.readouterr()
    for wrong, sentence in (
        (["rename", "Loud", "Dotted"], "There is a preset called Dotted already"),
        (["rename", "Loud", " "], "A name is needed"),
        (["remove", "Nothing"], "There is no preset called Nothing"),
        (["save", "Loud"], "Give an engine with --param, or --job"),
        (["save", "Loud", INVERT, "--param", "upper=7"], "upper: "),
    ):
        assert main(["presets", *wrong]) == 2
        assert sentence in capsys.readouterr().err
    assert main(["presets", "remove", "Loud"]) == 0
    assert main(["presets"]) == 0
    assert "end=dot" in capsys.readouterr().out
    assert main([*run, "--preset", "Loud"]) == 2


def _document(capsys: pytest.CaptureFixture[str], command: str) -> dict[str, list[dict]]:  # type: ignore[type-arg]
    capsys.readouterr()
    assert main([command, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_watch_that_ends_when_all_is_done(
    tiny_engine: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = ["--executor", "inline", "watch", "in", "--out", "out", "--settle", "0.2"]
    watch += ["--every", "0.1", "--once"]
    assert main([*watch, "--recipe", "twice.toml"]) == 1
    said = capsys.readouterr()
    assert "b.txt: This is no text" in said.err
    assert "-> out/a.inverted.inverted.txt" in said.out
    assert "Ended: 1 done, 1 failed" in said.out
    assert main([*watch, "--recipe", "twice.toml"]) == 0
    assert "2 files were done before" in capsys.readouterr().out
    assert main([*watch, "--recipe", "twice.toml", "--again"]) == 1
    assert main([*watch, "--engine", INVERT, "--param", "upper=true"]) == 1
    assert (here / "out" / "a.inverted.txt").read_text() == "CBA"
    capsys.readouterr()
    for wrong, sentence in (
        (["watch", "nowhere", "--out", "out", "--engine", INVERT], "There is no such folder"),
        (["watch", "in", "--out", "in", "--engine", INVERT], "Results need another folder"),
        (["watch", "in", "--out", "out", "--engine", "raw.calibrate"], "does not take one file"),
    ):
        assert main(wrong) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_ends_cleanly_on_a_signal(home: Path, here: Path, sent: signal.Signals) -> None:
    (here / "in" / "b.txt").unlink()
    running = process(
        home, "--executor", "inline", "watch", "in", "--engine", INVERT, "--out", "out",
        "--settle", "0.1", "--every", "0.1",
    )  # fmt: skip
    try:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("Watching in for Invert")
        assert "a.txt: " in running.stdout.readline()
        running.send_signal(sent)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert (running.returncode, out) == (0, "Stopped: 1 done\n"), err
    assert "Traceback" not in err


def test_help_needs_nothing_heavy() -> None:
    code = "import sys; from studio.cli import parser; parser(); "
    code += "print([m for m in ('torch', 'gradio', 'sqlalchemy', 'pydantic') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
