"""What holds for the source as a whole: tools, arrows, safety, versions."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import launch
from studio.config import VERSION
from tests.types_aside import Checker

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("db", "engines", "kernels", "studio")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in [ROOT / "launch.py", *(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))]:
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def check(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# tools


def test_lint() -> None:
    check("-m", "ruff", "check", "--no-cache")


def test_format() -> None:
    check("-m", "ruff", "format", "--check", "--no-cache")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_types(type_checker: Checker) -> None:
    code, said = type_checker.result()
    assert code == 0, said


def test_import_contracts() -> None:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    check("-c", command, "--no-cache")


def test_no_two_modules_need_one_another() -> None:
    """Imports within functions count as well; `from package import module` counts as the module."""
    trees = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): tree
        for name, tree in sources()
    }
    arrows = {
        name: {
            inner if (inner := f"{node.module}.{alias.name}") in trees else node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module in trees
            for alias in node.names
        }
        for name, tree in trees.items()
    }
    TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


# arrows, as they are at run time


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("kernels", {"gradio", "sqlalchemy", "studio", "db", "engines", "cv2", "pydantic"}),
        ("engines", {"gradio", "sqlalchemy", "studio", "db"}),
        ("db", {"gradio", "torch", "studio", "engines", "kernels"}),
    ],
)
def test_a_room_brings_nothing_that_it_may_not_know(room: str, forbidden: set[str]) -> None:
    code = (
        "import importlib, pkgutil, sys\n"
        f"room = importlib.import_module({room!r})\n"
        "names = [m.name for m in pkgutil.walk_packages(room.__path__, room.__name__ + '.')]\n"
        "names = [name for name in names if name != 'db.migrations.env']\n"  # Alembic runs it
        "[importlib.import_module(name) for name in names]\n"
        f"found = sorted({forbidden} & set(sys.modules))\n"
        "sys.exit(f'{room.__name__} brings {found}' if found or not names else 0)"
    )
    check("-c", code)


def test_the_page_never_loads_torch() -> None:
    """The worker does; what serves the page stays light and quick to start."""
    code = (
        "import sys, tempfile, pathlib\n"
        "from studio.app import build_app\n"
        "from studio.config import Settings\n"
        "from studio.jobs.service import Studio\n"
        "build_app(Studio(Settings(home=pathlib.Path(tempfile.mkdtemp()))))\n"
        "sys.exit('torch was loaded' if 'torch' in sys.modules else 0)"
    )
    check("-c", code)


# safety


def test_checkpoints_are_read_in_one_place_and_as_tensors_alone() -> None:
    calls: list[tuple[str, bool]] = []
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                safe = any(
                    k.arg == "weights_only" and ast.unparse(k.value) == "True"
                    for k in node.keywords
                )
                calls.append((name, safe))
    assert calls
    assert set(calls) == {("engines/weights.py", True)}


def test_nothing_is_unpickled_and_no_foreign_code_is_run() -> None:
    wrong: list[str] = []
    for name, tree in sources():
        wrong += [f"{name}: {m}" for m in imported(tree) if m.partition(".")[0] in UNPICKLERS]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in ("eval", "exec", "os.system", "torch.hub.load"):
                wrong.append(f"{name}: {called}")
            wrong += [
                f"{name}: {called}({keyword.arg}=...)"
                for keyword in node.keywords
                if keyword.arg in ("allow_pickle", "trust_remote_code", "shell")
                and ast.unparse(keyword.value) != "False"
            ]
    assert wrong == []


def test_no_relative_import_and_no_utils() -> None:
    assert [name for name, _ in sources() if re.search(r"/(utils?|helpers?|misc)\.py$", name)] == []


# versions


def test_one_version() -> None:
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "studio.config.VERSION"}
    newest = re.search(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == VERSION


OPTIONAL = {
    "engines/superres/community/": "community",
    "engines/media/picture_pillow.py": "heic",
    "engines/training/labelled/midi.py": "training",
    "studio/jobs/cluster.py": "cluster",
}


def test_every_package_that_is_imported_is_asked_for() -> None:
    owners = packages_distributions()
    asked = {requirement.partition("==")[0] for requirement in launch.requirements(ROOT)}
    for_developers = {"studio/bench/": "bench", "studio/docs/": "dev"}
    unasked: list[str] = []
    for name, tree in sources():
        allowed = asked
        for place, group in for_developers.items():
            if name.startswith(place):
                more = launch.requirements(ROOT, group)
                allowed = asked | {requirement.partition("==")[0] for requirement in more}
        for place, extra in OPTIONAL.items():
            if name.startswith(place):
                allowed = asked | set(PROJECT["project"]["optional-dependencies"][extra])
        for module in {dotted.partition(".")[0] for dotted in imported(tree)}:
            if module in sys.stdlib_module_names or module in ROOMS or module == "launch":
                continue
            if not allowed & {owner.lower().replace("_", "-") for owner in owners.get(module, ())}:
                unasked.append(f"{name}: {module}")
    assert unasked == []


def test_what_is_asked_for_is_pinned_and_installed() -> None:
    assert launch.missing(ROOT, exactly=True) == []
    assert launch.missing(ROOT, "dev", exactly=True) == []
    wanted = {r.partition("==")[0] for g in ("", "dev") for r in launch.requirements(ROOT, g)}
    assert set(launch.pins(ROOT)) == wanted, "constraints.txt pins these and no others"
    assert launch.pins(ROOT)["torch"] == "2.13.0"


def test_a_space_installs_the_same() -> None:
    text = (ROOT / "requirements.txt").read_text()
    listed = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert sorted(listed) == sorted(launch.requirements(ROOT))


def test_pre_commit_uses_the_same_tools() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    used = re.findall(r"\[([a-z-]+)==([\d.]+)\]", text)
    assert used
    assert all(launch.pins(ROOT)[name] == number for name, number in used)


def test_the_python_that_is_needed() -> None:
    oldest = ".".join(map(str, launch.OLDEST))
    assert PROJECT["project"]["requires-python"] == f">={oldest}"
    assert PROJECT["tool"]["basedpyright"]["pythonVersion"] == oldest
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
