"""Every command: in this process for the demo engine, as a process of its own where that counts."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest

from engines import registry
from engines.base import UserError
from studio import language
from studio.cli import main
from studio.commands import parameters
from studio.commands.run import expand
from studio.config import LOCAL, VERSION, Settings
from studio.jobs.service import Studio
from tests.engines_for_tests import CRASH, INVERT, InvertParams
from tests.studio.jobs import engines

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "data" / "golden"
RUN_DEMO = """
import sys
from studio.cli import main
from tests import engines_for_tests

if __name__ == "__main__":
    engines_for_tests.register()
    sys.exit(main(sys.argv[1:]))
"""

Texts = Callable[..., list[Path]]


@pytest.fixture
def texts(tmp_path: Path) -> Texts:
    """Makes text files in `shoot/`: name -> content, in the order given."""

    def make(**contents: str) -> list[Path]:
        folder = tmp_path / "shoot"
        folder.mkdir(exist_ok=True)
        for name, content in contents.items():
            (folder / f"{name}.txt").write_text(content)
        return [folder / f"{name}.txt" for name in contents]

    return make


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tmp_path` as the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments: str | Path) -> list[str]:
    """`run demo.invert` in this process."""
    return ["--executor", "inline", "run", INVERT, *map(str, arguments)]


def process(
    home: Path, *arguments: str, stderr: int = subprocess.PIPE, group: bool = False
) -> subprocess.Popen[str]:
    """The command line as a process of its own, which knows the demo engines."""
    script = home.parent / "demo.py"
    script.write_text(RUN_DEMO)
    return subprocess.Popen(
        [sys.executable, str(script), *arguments],
        env=os.environ | {"STUDIO_HOME": str(home), "PYTHONPATH": str(ROOT)},
        cwd=home.parent,
        text=True,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=group,
    )


# run


def test_document_has_the_promised_shape(
    tiny_engine: str, texts: Texts, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts(a="abc")
    (here / "shoot" / "b.txt").write_bytes(b"\xff\xfe")
    given = ["shoot/a.txt", "gone.txt", "shoot/b.txt", "--out", "out", "--json"]
    assert main(command(*given)) == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    for job in document["jobs"]:
        for measured in ("seconds", "peak_mb"):
            assert (job.pop(measured) is None) == (job["input"] == "gone.txt")
        if job["state"] == "done":
            peak = job["measurements"].pop("peak_mb")
            assert peak["value"] > 1.0
            assert peak["unit"] == "MB"
    assert document == {
        "engine": INVERT,
        "version": VERSION,
        "jobs": [
            {
                "input": "shoot/a.txt",
                "state": "done",
                "error": None,
                "outputs": [
                    {
                        "path": "out/a.inverted.txt",
                        "kind": "document",
                        "label": "inverted text",
                        "primary": True,
                    }
                ],
                "measurements": {
                    "characters": {"value": 3.0, "unit": ""},
                    "wait": {"value": 0.0, "unit": "s"},
                },
            },
            {
                "input": "gone.txt",
                "state": "failed",
                "error": "There is no such file; check its name: gone.txt",
                "outputs": [],
                "measurements": {},
            },
            {
                "input": "shoot/b.txt",
                "state": "failed",
                "error": "This is no text; choose a text file: b.txt",
                "outputs": [],
                "measurements": {},
            },
        ],
    }
    assert (here / "out" / "a.inverted.txt").read_text() == "cba"
    assert [path.name for path in (here / "out").iterdir()] == ["a.inverted.txt"]
    assert "This is no text" in captured.err


def test_lines_for_a_person(
    tiny_engine: str, texts: Texts, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts(a="abc")
    assert main(command("shoot", "missing", "--out", "out")) == 1
    captured = capsys.readouterr()
    assert re.fullmatch(
        r"a\.txt: \d+\.\d s -> out/a\.inverted\.txt\n"
        r"  characters 3, wait 0 s, peak_mb [\d.e+]+ MB\n  The text was read from its end\n",
        captured.out,
    )
    assert captured.err == "There is no such file; check its name: missing\n"


def test_one_entry_an_input_in_the_order_given(
    tiny_engine: str, texts: Texts, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts(b="1", a="2")
    (here / "shoot" / "notes.md").write_text("not for this engine")
    (here / "empty").mkdir()
    given = ["shoot/b.txt", "shoot", "sh*/b*.txt", "empty", "no*thing", "--out", "out", "--json"]
    assert main(command(*given)) == 1
    jobs = json.loads(capsys.readouterr().out)["jobs"]
    assert [(job["input"], job["state"]) for job in jobs] == [
        ("shoot/b.txt", "done"),
        ("shoot/a.txt", "done"),
        ("shoot/b.txt", "done"),
        ("shoot/b.txt", "done"),
        ("empty", "failed"),
        ("no*thing", "failed"),
    ]
    assert jobs[0] == jobs[2] == jobs[3], "a file that is named twice is done once"
    assert sorted(p.name for p in (here / "out").iterdir()) == ["a.inverted.txt", "b.inverted.txt"]


def test_names_that_are_no_text_or_no_line(
    tiny_engine: str, here: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    (here / "shoot").mkdir()
    for name in (b"\xff.txt", b"two\nlines.txt", "ünï.txt".encode()):
        (here / "shoot" / os.fsdecode(name)).write_text("abc")
    assert main(command("shoot", "x" * 5000, "--out", "out", "--json")) == 1
    captured = capsysbinary.readouterr()
    jobs = json.loads(captured.out.decode("utf-8"))["jobs"]
    assert {os.fsencode(job["input"]) for job in jobs[:3]} == {
        b"shoot/\xff.txt",
        b"shoot/two\nlines.txt",
        "shoot/ünï.txt".encode(),
    }
    assert [job["state"] for job in jobs] == ["done", "done", "done", "failed"]
    assert "This cannot be read (File name too long)" in jobs[3]["error"]
    assert b"two?lines.txt: 0." in captured.err


def test_folders_are_not_descended(texts: Texts, here: Path) -> None:
    texts(a="1")
    (here / "shoot" / "older").mkdir()
    (here / "shoot" / "older" / "z.txt").write_text("2")
    assert [item.name for item in expand(["shoot"], (".txt",))] == ["shoot/a.txt"]
    assert [item.name for item in expand(["shoot/**/*.txt"], (".txt",))] == [
        "shoot/a.txt",
        "shoot/older/z.txt",
    ]


@pytest.mark.usefixtures("tiny_engine")
def test_models_are_folders_zips_and_ids(
    here: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.register()
    known = language.pulled_folder(settings) / "smollm2-135m"
    for folder in (known, here / "models" / "a", here / "models" / "b", here / "b-small"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    with zipfile.ZipFile(here / "models" / "c.zip", "w") as packed:
        packed.write(known / "config.json", "c/config.json")
    inputs = ["models", "smollm2-135m", "models/a", "nowhere"]
    asked = ["--executor", "inline", "run", "demo.model", *inputs, "--out", ".", "--json"]
    assert main(asked) == 1
    *done, gone = json.loads(capsys.readouterr().out)["jobs"]
    assert [(job["input"], job["outputs"][0]["path"]) for job in done] == [
        ("models/a", "a-small"),
        ("models/b", "b-small-2"),
        ("models/c.zip", "c-small"),
        ("smollm2-135m", "smollm2-135m-small"),
        ("models/a", "a-small"),
    ]
    assert {job["outputs"][0]["kind"] for job in done} == {"model"}
    assert (here / "smollm2-135m-small" / "config.json").read_text() == "config.json"
    assert "no model of this id (there are" in gone["error"]
    assert "smollm2-135m" in gone["error"]


def test_parameters_of_every_type_are_written_as_text(
    tiny_engine: str, texts: Texts, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts(a="abcdef")
    given = ["repeat=2", "upper=yes", "end=mark", "without=a", "without=b", "limit=3"]
    options = [option for pair in given for option in ("--param", pair)]
    assert main(command("shoot/a.txt", "--out", "out", *options)) == 0
    assert (here / "out" / "a.inverted.txt").read_text() == "FEDFED!"


@pytest.mark.parametrize("text", ["", "automatic", "none"])
def test_automatic_is_none(text: str) -> None:
    assert parameters.read(InvertParams, [f"limit={text}"]) == {"limit": None}


def test_a_choice_may_be_a_number() -> None:
    from engines.raw.yond.params import YondParams

    given = ["passes=1", "output=dng", "output=tiff", "exposure=automatic", "strength=0.5"]
    found = YondParams.model_validate(parameters.read(YondParams, given))
    assert (found.passes, found.output, found.exposure) == (1, ("dng", "tiff"), None)
    assert found.strength == 0.5


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--param", "repeat"], "A parameter is given as NAME=VALUE: repeat"),
        (["--param", "end=dot", "--param", "end=mark"],
         "end takes one value and was given 2: dot, mark"),
        (["--param", "repeat=10"], "repeat: input should be less than or equal to 9, got '10'"),
        (["--param", "loud=1"], "There is no parameter loud; `engines` lists those that exist"),
        (["--device", "gpu"], "A device is called cpu, cuda, cuda:1 or mps: gpu"),
        (["--preset", "mine"], "There is no preset of demo.invert by this name: mine"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_sentence(
    given: list[str],
    sentence: str,
    tiny_engine: str,
    texts: Texts,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts(a="abc")
    assert main(command("shoot/a.txt", "--out", "out", "--json", *given)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"noise-studio: {sentence}\n"
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "demo.invert"],
        ["run", "demo.nothing", "a.txt", "--out", "out"],
        ["--auth", "nobody"],
        ["--share"],
        ["--executor", "cloud"],
        ["--executor", "dask://nowhere"],
        ["models", "remove", "nothing"],
        ["models", "pull", "nothing"],
        ["engines", "nothing"],
        ["bench", "nothing"],
        ["train", "nothing"],
        ["dance"],
    ],
)
def test_wrong_use_is_code_2(
    arguments: list[str], tiny_engine: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err


def test_preset_from_a_file_and_from_the_database(
    tiny_engine: str, texts: Texts, here: Path, settings: Settings
) -> None:
    texts(a="abc")
    Studio(settings).presets.save(LOCAL, INVERT, "loud", {"upper": True})
    assert main(command("shoot/a.txt", "--out", "out", "--preset", "loud")) == 0
    assert (here / "out" / "a.inverted.txt").read_text() == "CBA"
    (here / "p.json").write_text(json.dumps({"engine": INVERT, "params": {"repeat": 2}}))
    given = ["--preset", "p.json", "--param", "end=dot"]
    assert main(command("shoot/a.txt", "--out", "other", *given)) == 0
    assert (here / "other" / "a.inverted.txt").read_text() == "cbacba."


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("{", "a JSON object"), ("[]", "a JSON object"), ('{"engine": "raw.yond"}', "raw.yond")],
)
def test_preset_that_is_none(content: str, sentence: str, here: Path, settings: Settings) -> None:
    (here / "p.json").write_text(content)
    with pytest.raises(UserError, match=sentence):
        Studio(settings).presets.load(LOCAL, INVERT, "p.json")


def test_an_interrupted_batch_goes_on(tiny_engine: str, texts: Texts, here: Path) -> None:
    texts(a="abc", b="def")
    (here / "shoot" / "b.txt").write_bytes(b"\xff")
    given = command("shoot", "--out", "out")
    assert main(given) == 1
    first = (here / "out" / "a.inverted.txt").stat()
    assert main(given) == 1
    assert (here / "out" / "a.inverted.txt").stat().st_mtime_ns == first.st_mtime_ns
    assert [path.name for path in (here / "out").iterdir()] == ["a.inverted.txt"]


def test_work_is_left_to_a_studio_that_is_open(
    studio: Studio, tiny_engine: str, texts: Texts, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts(a="abc")
    assert studio.is_runner
    assert main(command("shoot/a.txt", "--out", "out")) == 0
    assert "Another studio is open here" in capsys.readouterr().err
    assert (here / "out" / "a.inverted.txt").read_text() == "cba"
    [job] = studio.jobs(LOCAL)
    assert (job.state, job.source) == ("done", "cli")


def test_work_is_taken_over_from_a_studio_that_is_closed(
    settings: Settings, tiny_engine: str, texts: Texts, here: Path
) -> None:
    texts(a="abc", b="def")
    page = Studio(settings)
    page.start()

    def close_in_the_middle() -> None:
        while not page.jobs(LOCAL, states=("running",)):
            time.sleep(0.02)
        page.stop()

    closing = threading.Thread(target=close_in_the_middle)
    closing.start()
    assert main(command("shoot", "--out", "out", "--param", "seconds=1")) == 0
    closing.join()
    assert sorted(p.name for p in (here / "out").iterdir()) == ["a.inverted.txt", "b.inverted.txt"]
    assert {job.state for job in page.jobs(LOCAL)} == {"done"}


def test_a_dead_worker_fails_its_file_alone(
    tiny_engine: str, texts: Texts, here: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts(a="abc", b="def")
    assert main(["run", CRASH, "shoot", "--out", "out", "--json"]) == 1
    jobs = json.loads(capsys.readouterr().out)["jobs"]
    assert [job["state"] for job in jobs] == ["failed", "failed"]
    assert "ended by the system" in jobs[0]["error"]
    assert main(["run", INVERT, "shoot", "--out", "out"]) == 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_cancels_what_is_left(sent: signal.Signals, home: Path, texts: Texts) -> None:
    paths = texts(a="abc", b="def", c="ghi")
    given = [*map(str, paths), "--out", "out", "--param", "seconds=3", "--json"]
    running = process(home, "run", INVERT, *given, group=True)
    with Watching(home) as watch:
        watch.until(lambda jobs: any(job.state == "running" and job.done > 0 for job in jobs))
        if sent == signal.SIGINT:
            os.killpg(running.pid, sent)  # a terminal sends it to the whole group
        else:
            running.send_signal(sent)
        out, err = running.communicate(timeout=60)
        assert running.returncode == 130, err
        assert [job["state"] for job in json.loads(out)["jobs"]] == ["cancelled"] * 3
        assert {job.state for job in watch.studio.jobs(LOCAL)} == {"cancelled"}
    assert list((home.parent / "out").iterdir()) == []
    assert not list((home / "outputs").rglob("*.txt"))
    assert "Traceback" not in err


def test_a_bar_on_a_terminal(home: Path, texts: Texts) -> None:
    paths = texts(a="abc", b="def")
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    given = [*map(str, paths), "--out", "out", "--param", "seconds=0.5"]
    running = process(home, "run", INVERT, *given, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        shown += part
    os.close(terminal)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert out.count("-> out/") == 2, "results go to standard output, not into the bar"
    assert "%|" in shown.decode()
    assert "b.txt: step" in shown.decode()


class Watching:
    """A studio that only looks at a home's database."""

    def __init__(self, home: Path) -> None:
        self.studio = Studio(Settings(home=home))

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *details: object) -> None:
        self.studio.stop()

    def until(self, what: Callable[[list[Any]], bool]) -> None:
        for _ in range(600):
            if what(self.studio.jobs(LOCAL)):
                return
            time.sleep(0.05)
        raise AssertionError("it did not come to that")


# the other commands


def test_help_is_there_without_anything_heavy() -> None:
    heavy = "{'torch', 'gradio', 'sqlalchemy', 'pydantic', 'numpy'}"
    code = (
        "import sys; from studio.cli import main\n"
        "assert main(['run', '--help']) == 0 and main(['--help']) == 0\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--param NAME=VALUE" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_engines_as_a_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "studio.cli", "engines", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    [yond] = [engine for engine in document["engines"] if engine["id"] == "raw.yond"]
    assert yond["parameters"]["strength"]["maximum"] == 2.0
    assert ".dng" in yond["suffixes"]


def test_engines_lists_one_that_was_registered(
    tiny_engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engines"]) == 0
    listed = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert ["demo.invert", "Demo", "Writes a text backwards"] in listed
    assert main(["engines", INVERT]) == 0
    shown = capsys.readouterr().out
    for words in (
        "--param seconds=X (0 to 60) s",
        "--param upper=true|false",
        "--param end=none|dot|mark",
        "--param without=TEXT (may be given several times)",
        "--param limit=N (1 to 1000) or automatic",
        "Longest text; empty is any (default: automatic, advanced)",
    ):
        assert words in shown


@pytest.mark.parametrize("engine_id", registry.engine_ids())
def test_every_engine_describes_itself(engine_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", engine_id]) == 0
    assert "VALUE" not in capsys.readouterr().out, "a parameter of a type that no help explains"


def test_history(
    tiny_engine: str, texts: Texts, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts(a="abc", b="def")
    assert main(["jobs"]) == 0
    assert capsys.readouterr().out == ""
    main(command("shoot", "--out", "out"))
    capsys.readouterr()
    assert main(["jobs", "--json"]) == 0
    jobs = json.loads(capsys.readouterr().out)["jobs"]
    assert [Path(job["inputs"][0]["path"]).name for job in jobs] == ["b.txt", "a.txt"]
    assert {job["source"] for job in jobs} == {"cli"}
    assert jobs[0]["outputs"][0]["path"] == str(here / "out" / "b.inverted.txt")
    assert main(["jobs", "--limit", "1"]) == 0
    assert re.search(r"demo\.invert +done +\d\.\d s +b\.txt", capsys.readouterr().out)
    assert main(["sessions", "--json"]) == 0
    [session] = json.loads(capsys.readouterr().out)["sessions"]
    assert session["jobs"] == 2


def test_clean_frees_and_reports(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    settings.temporary.mkdir(parents=True)
    (settings.temporary / "left").write_bytes(b"x" * 1000)
    assert main(["clean", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["freed_bytes"] == 1000
    assert document["kept_bytes"]["database"] > 0
    assert not settings.temporary.exists()
    assert main(["clean"]) == 0
    assert "Freed 0 B" in capsys.readouterr().out


def test_clean_leaves_an_open_studio_alone(
    studio: Studio, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.settings.temporary.mkdir(parents=True, exist_ok=True)
    assert main(["clean"]) == 2
    assert "close it" in capsys.readouterr().err
    assert studio.settings.temporary.exists()


def test_models(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    shipped = json.loads(capsys.readouterr().out)["models"]
    assert {model["state"] for model in shipped} == {"bundled"}

    from safetensors.torch import save_file

    from engines.raw.yond.arch import GuidedResUnet

    save_file(GuidedResUnet(nf=4, levels=2).state_dict(), here / "mine.safetensors")
    assert main(["models", "add", "mine.safetensors", "--name", "of mine", "--json"]) == 0
    [added] = json.loads(capsys.readouterr().out)["models"]
    assert (added["id"], added["state"]) == ("of-mine", "yours")
    assert main(["models", "list"]) == 0
    assert "of-mine" in capsys.readouterr().out
    assert main(["models", "check"]) == 0
    assert "in order" in capsys.readouterr().out
    Path(added["path"]).write_bytes(b"something else")
    assert main(["models", "check", "--json"]) == 1
    checked = json.loads(capsys.readouterr().out)["models"]
    assert [row["id"] for row in checked if not row["ok"]] == ["of-mine"]
    assert main(["models", "remove", "of-mine"]) == 0
    assert main(["models", "add", "gone.pth"]) == 2
    assert "gone.pth" in capsys.readouterr().err


def test_language_models_are_listed_and_removed(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = language.pulled_folder(settings) / "tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "studio.json").write_text('{"title": "Tiny", "licence": "MIT", "note": "A note"}')
    assert main(["models", "--json"]) == 0
    found = {one["id"]: one for one in json.loads(capsys.readouterr().out)["language"]}
    assert found["tiny"]["licence"] == "MIT"
    assert found["tiny"]["path"] == str(folder)
    assert main(["models"]) == 0
    assert re.search(r"tiny\s+pulled.*language model\s+A note", capsys.readouterr().out)
    assert main(["models", "remove", "tiny"]) == 0
    assert not folder.exists()


def test_models_pull_says_where_and_fetches_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "pull", "raw.yond/snrnet"]) == 1
    assert "models add FILE" in capsys.readouterr().out
    assert main(["models", "pull", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["pulled"] == []
    assert document["published"][0]["source"]


def test_models_verify(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    golden = GOLDEN / "yond-snrnet-nf4.safetensors"
    assert main(["models", "verify", str(golden)]) == 0
    assert re.search(r"out: agrees, \d\.\d\de-0[789]", capsys.readouterr().out)
    with safe_open(golden, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors["output.out"] = tensors["output.out"] * 1.001
    save_file(tensors, here / "off.safetensors", metadata=metadata)
    given = [str(golden), "off.safetensors", "gone.safetensors"]
    assert main(["models", "verify", *given, "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [check["ok"] for check in checks] == [True, False, False]
    assert 5e-4 < checks[1]["max_relative_error"] < 2e-3
    assert "gone.safetensors" in checks[2]["error"]


def test_train_prints_its_curve_and_can_be_resumed(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("engines.training._RECIPES", {"line": "tests.recipes_for_tests:line"})
    assert main(["train"]) == 0
    assert capsys.readouterr().out == "line  A line through the origin\n"
    assert main(["train", "line", "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    slope = re.search(r"step 200, .*slope ([\d.]+)", shown)
    assert slope is not None
    assert abs(float(slope[1]) - 2.0) < 0.1
    weights = settings.cache / "training" / "line" / "line.safetensors"
    assert weights.is_file()
    assert str(weights) in shown
    assert main(["train", "line", "--resume", "--budget-minutes", "0.001"]) == 0
    assert re.search(r"step 2\d\d|step [3-9]\d\d|step \d{4,}", capsys.readouterr().out)


def test_bench_prints_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("studio.bench.BENCHES", {"tiny": "tests.bench_for_tests"})
    monkeypatch.setattr("studio.commands.bench.BENCHES", {"tiny": "tests.bench_for_tests"})
    assert main(["bench"]) == 0
    assert capsys.readouterr().out == "tiny  Counting to two\n"
    assert main(["bench", "tiny"]) == 0
    assert capsys.readouterr().out == "number  share  odd\n1       0.5    yes\n2       1\n"
    assert main(["bench", "tiny", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["rows"][1] == {"number": 2, "share": 1.0}
    assert document["machine"]["cores"] == os.cpu_count()


def test_every_bench_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["benches"]
    modules = (ROOT / "studio" / "bench").glob("[a-z]*.py")
    files = [path.stem for path in modules if "\nTITLE = " in path.read_text(encoding="utf-8")]
    assert sorted(listed) == sorted(name.replace("_", "-") for name in files)


def test_bench_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("studio.bench.BENCHES", {"tiny": "tests.bench_for_tests"})
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setattr("tests.bench_for_tests.NEEDS", "skimage")
    assert main(["bench", "tiny"]) == 2
    assert "pip install scikit-image" in capsys.readouterr().err


def test_a_document_stands_alone_on_standard_output(
    tiny_engine: str, texts: Texts, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    texts(a="abc")
    assert main(["run", INVERT, "shoot", "--out", "out", "--json"]) == 0
    json.loads(capfd.readouterr().out)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"noise-studio {VERSION}\n"


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    code = "import sys; from studio.cli import main; sys.exit(main(['engines', 'raw.yond']))"
    done = subprocess.run(
        f"{sys.executable} -c \"{code}\" | true",
        shell=True, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""


def test_warnings_before_a_page_that_others_reach(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    served: list[Settings] = []
    monkeypatch.setattr("studio.app.serve", lambda studio, settings: served.append(settings))
    said = io.StringIO()
    with redirect_stderr(said):
        assert main(["--executor", "inline", "--host", "192.0.2.1", "--port", "7999"]) == 0
    assert "--auth" in said.getvalue()
    assert (served[0].host, served[0].port, served[0].open_browser) == ("192.0.2.1", 7999, True)
    given = ["--executor", "inline", "--auth", "me:pass:word", "--share", "--no-browser"]
    assert main(given) == 0
    assert served[1].auth == (("me", "pass:word"),)
    assert served[1].share
    assert not served[1].open_browser
