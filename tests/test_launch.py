"""launch.py in real processes: a small project of its own, wheels made here, no network."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

import launch

ROOT = Path(launch.__file__).resolve().parent
PROJECT = """
[project]
dependencies = ["stubdep"]
[dependency-groups]
bench = ["bencher"]
dev = [{include-group = "bench"}, "checker"]
"""
CLI = """
import importlib.util, os, sys
def main(arguments):
    import stubdep
    tools = [name for name in ("bencher", "checker") if importlib.util.find_spec(name)]
    print(*arguments, "with", stubdep.VERSION, *tools)
    print("analytics", os.environ["GRADIO_ANALYTICS_ENABLED"], "in", sys.prefix, file=sys.stderr)
    return 7
"""


class Stub:
    """A project that launch.py sets up; `run` starts it as a person does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.venv = folder / ".venv"
        self.wheels = folder / "wheels"
        self.wheels.mkdir(parents=True)
        shutil.copy(ROOT / "launch.py", folder)
        (folder / "studio").mkdir()
        (folder / "studio" / "cli.py").write_text(CLI)
        (folder / "pyproject.toml").write_text(PROJECT)
        for name, number in (("stubdep", "1.0"), ("bencher", "1.0"), ("checker", "1.0")):
            self.add_wheel(name, number)
        self.pin("1.0")

    def pin(self, number: str) -> None:
        text = f"stubdep=={number}\nbencher==1.0  # a tool\n\nchecker==1.0\n"
        (self.folder / "constraints.txt").write_text(text)

    def add_wheel(self, name: str, number: str, needs: str = "") -> None:
        info = f"{name}-{number}.dist-info"
        more = f"Requires-Dist: {needs}\n" if needs else ""
        members = {
            f"{name}.py": f"VERSION = {number!r}\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n{more}",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{member},,\n" for member in [*members, f"{info}/RECORD"])
        path = self.wheels / f"{name}-{number}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            for member, text in {**members, f"{info}/RECORD": record}.items():
                wheel.writestr(member, text)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """From another folder, with pip kept to the wheels that were made here."""
        pip = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
        }
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "GRADIO_"))}
        return subprocess.Popen(
            [sys.executable, str(self.folder / "launch.py"), *arguments],
            env=clean | pip | environment,
            cwd=self.folder.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 7, **environment: str) -> tuple[str, str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=100)
        assert process.returncode == code, err
        assert "Traceback" not in err
        return out, err

    def module(self, name: str) -> Path:
        [found] = self.venv.glob(f"[Ll]ib/**/site-packages/{name}.py")
        return found


@pytest.fixture
def stub(tmp_path: Path) -> Stub:
    return Stub(tmp_path / "project")


@pytest.mark.slow
def test_from_nothing_to_the_next_start(stub: Stub) -> None:
    out, err = stub.run("engines", "--json")
    assert out == "engines --json with 1.0\n", "standard output is the command's alone"
    assert "Making the environment" in err
    assert "Installing 1 packages" in err
    assert "Successfully installed stubdep-1.0" in err, "pip's own words are shown"
    assert f"analytics False in {stub.venv}" in err

    out, err = stub.run("jobs")
    assert out == "jobs with 1.0\n"
    assert err == f"analytics False in {stub.venv}\n", (
        "the next start says nothing and does nothing"
    )

    out, err = stub.run("bench", "x")
    assert out == "bench x with 1.0 bencher\n"
    out, err = stub.run("test", "-k", "y")
    assert out == "test -k y with 1.0 bencher checker\n"
    assert "Making" not in err
    assert "Successfully installed checker-1.0" in err
    assert "Installing" not in stub.run("test")[1]

    stub.add_wheel("stubdep", "1.1")
    stub.pin("1.1")
    (stub.venv / "mine").touch()
    out, err = stub.run("jobs")
    assert out == "jobs with 1.1 bencher checker\n"
    assert (stub.venv / "mine").exists(), "an update goes into the same environment"


@pytest.mark.slow
def test_what_would_draw_in_another_torch_is_installed_alone(stub: Stub) -> None:
    stub.add_wheel("spandrel", "1.0", needs="torchvision")
    project = (stub.folder / "pyproject.toml").read_text()
    (stub.folder / "pyproject.toml").write_text(
        project.replace('"checker"', '"checker", "spandrel"')
    )
    with (stub.folder / "constraints.txt").open("a") as pins:
        pins.write("spandrel==1.0\n")
    out, _ = stub.run("test")
    assert "checker" in out
    assert list(stub.venv.glob("[Ll]ib/**/spandrel.py"))


@pytest.mark.slow
def test_an_extra_is_installed_alone_and_may_be_missing(stub: Stub) -> None:
    project = (stub.folder / "pyproject.toml").read_text()
    extra = '[project.optional-dependencies]\nsentences = ["sayer"]\n[dependency-groups]'
    (stub.folder / "pyproject.toml").write_text(project.replace("[dependency-groups]", extra))
    with (stub.folder / "constraints.txt").open("a") as pins:
        pins.write("sayer==1.0\n")
    out, err = stub.run("jobs")
    assert out == "jobs with 1.0\n"
    assert "sayer==1.0 could not be installed; the studio works without it" in err
    stub.add_wheel("sayer", "1.0", needs="torchvision")
    (stub.venv / "noise-studio-app.stamp").unlink()
    stub.run("jobs")
    assert list(stub.venv.glob("[Ll]ib/**/sayer.py"))


@pytest.mark.slow
def test_a_half_made_environment_is_mended(stub: Stub) -> None:
    stub.run("jobs")
    # As if pip had been killed between a package's files and its record, and then an update of
    # another had been broken off.
    (stub.venv / "noise-studio-app.stamp").unlink()
    module = stub.module("stubdep")
    module.write_text("VERSION = 'half'\n")
    (module.parent / "stubdep-1.0.dist-info" / "INSTALLER").unlink()
    (module.parent / "~tubdep").mkdir()
    out, err = stub.run("jobs")
    assert out == "jobs with 1.0\n"
    assert "Installing stubdep again, which was broken off" in err
    assert not (module.parent / "~tubdep").exists()

    # The interpreter that it was made from is gone.
    python = stub.venv / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    out, err = stub.run("jobs")
    assert out == "jobs with 1.0\n"
    assert "Making the environment" in err


@pytest.mark.slow
def test_two_starts_at_once_make_one_environment(stub: Stub) -> None:
    both = [stub.start(name) for name in ("first", "second")]
    answers = [process.communicate(timeout=100) for process in both]
    assert [process.returncode for process in both] == [7, 7], answers
    assert [out for out, _ in answers] == ["first with 1.0\n", "second with 1.0\n"]
    said = "".join(err for _, err in answers)
    assert said.count("Making the environment") == 1
    assert said.count("Successfully installed stubdep-1.0") == 1
    assert said.count("Another start is setting this environment up; waiting for it") == 1


def test_without_venv_one_sentence_and_nothing_is_left(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['ensurepip'] = None\n")
    out, err = stub.run("jobs", code=1, PYTHONPATH=str(tmp_path))
    assert out == ""
    assert err.splitlines()[-1].startswith("This Python has no ensurepip module")
    assert "apt install python3." in err
    assert not stub.venv.exists()


@pytest.mark.slow
def test_what_cannot_be_fetched_is_one_sentence_and_the_next_start_goes_on(stub: Stub) -> None:
    stub.pin("2.0")
    _, err = stub.run("jobs", code=1)
    assert err.splitlines()[-1].startswith("There is no build of stubdep==2.0 for this machine")
    stub.pin("1.0")
    nowhere = {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": "http://127.0.0.1:9/",
               "PIP_RETRIES": "0"}  # fmt: skip
    _, err = stub.run("jobs", code=1, **nowhere)
    assert err.splitlines()[-1].startswith("The packages cannot be fetched without a network")
    out, err = stub.run("jobs")
    assert out == "jobs with 1.0\n"
    assert "Making" not in err


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
         "The disk that holds"),
        ("WARNING: Retrying: NameResolutionError\nERROR: No matching distribution found for x",
         "without a network"),
        ("error: subprocess-exited-with-error", "what pip said is in"),
    ],
)  # fmt: skip
def test_why_pip_failed(said: str, sentence: str, stub: Stub, tmp_path: Path) -> None:
    environment = launch.Environment(stub.folder, tmp_path)
    assert sentence in environment._why_not(said, tmp_path / "install.log")


def test_a_folder_that_cannot_be_written(stub: Stub) -> None:
    (stub.folder / ".venv.lock").mkdir()  # root may write anywhere, but not open a folder
    _, err = stub.run("jobs", code=1)
    assert "cannot be made beside launch.py" in err


@pytest.mark.parametrize("setting", ["NOISE_STUDIO_NO_VENV=1", "SYSTEM=spaces"])
def test_no_environment_where_none_is_wanted(
    setting: str, stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*setting.split("="))
    _, err = stub.run("jobs", code=1)
    assert err.endswith(f"{sys.executable} -m pip install stubdep==1.0\n")
    here = tmp_path / "here"
    with zipfile.ZipFile(stub.wheels / "stubdep-1.0-py3-none-any.whl") as wheel:
        wheel.extractall(here)
    out, _ = stub.run("jobs", PYTHONPATH=str(here))
    assert out == "jobs with 1.0\n"
    assert not stub.venv.exists()


def test_an_environment_that_has_everything_is_used(stub: Stub, tmp_path: Path) -> None:
    here = tmp_path / "here"
    with zipfile.ZipFile(stub.wheels / "stubdep-1.0-py3-none-any.whl") as wheel:
        wheel.extractall(here)
    out, err = stub.run("jobs", PYTHONPATH=str(here))
    assert out == "jobs with 1.0\n"
    assert f"in {sys.prefix}\n" in err
    assert not stub.venv.exists()


def test_help_needs_no_environment(stub: Stub) -> None:
    (stub.folder / "studio" / "cli.py").write_text("def main(arguments):\n    return 3\n")
    stub.run("--help", code=3)
    assert not stub.venv.exists()


def test_another_version_than_the_pinned_one_does_not_do() -> None:
    assert launch.missing(ROOT, "dev", exactly=True) == []
    assert launch.pins(ROOT)["torch"] == "2.13.0"
    assert version("torch").startswith("2.13.0")


def _stubs(folder: Path, scripts: Sequence[tuple[str, str]]) -> str:
    folder.mkdir()
    for name, body in scripts:
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_a_newer_python_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minor = sys.version_info.minor
    real = f'exec {sys._base_executable} "$@"'  # type: ignore[attr-defined]
    others = [m for m in range(launch.OLDEST[1], launch.NEWEST[1] + 1) if m != minor]
    broken = [(f"python3.{m}", "echo not installed >&2; exit 127") for m in others]
    path = _stubs(tmp_path / "bin", [*broken, (f"python3.{minor}", real)])
    monkeypatch.setenv("PATH", path)
    assert launch.newer_python() == str(tmp_path / "bin" / f"python3.{minor}")
    wrong = [(f"python3.{m}", real) for m in others]
    monkeypatch.setenv("PATH", _stubs(tmp_path / "wrong", wrong))
    with pytest.raises(launch.Trouble, match=r"needs Python 3\.11 or newer, and this is 3\."):
        launch.newer_python()


def test_an_old_python_can_read_it() -> None:
    ast.parse((ROOT / "launch.py").read_text(), feature_version=(3, 8))
