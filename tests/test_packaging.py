"""`pip install .`: the wheel has everything that the repository's rooms have, and works from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("assets", "db", "engines", "kernels", "studio")
FILES = ("pyproject.toml", "README.md", "LICENSE", "launch.py")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as site-packages is after the wheel was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for room in ROOMS:
        shutil.copytree(
            ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__", "*.partial")
        )
    for name in FILES:
        shutil.copy(ROOT / name, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    [wheel] = (source / "dist").glob("noise_studio-*-py3-none-any.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def test_nothing_is_missing_and_nothing_else_is_in_it(installed: Path) -> None:
    def files(root: Path, room: str) -> set[str]:
        found = (p for p in (root / room).rglob("*") if p.is_file())
        return {
            p.relative_to(root).as_posix()
            for p in found
            if "__pycache__" not in p.parts and p.suffix != ".partial"
        }

    for room in ROOMS:
        assert files(installed, room) == files(ROOT, room)
    others = {path.name for path in installed.iterdir()} - set(ROOMS)
    assert {name for name in others if not name.endswith(".dist-info")} == {"launch.py"}


def test_the_command_works_away_from_the_repository(
    installed: Path, home: Path, tmp_path: Path
) -> None:
    [points] = installed.glob("*.dist-info/entry_points.txt")
    assert "noise-studio = studio.cli:main" in points.read_text()
    code = "import sys; from studio.cli import main; sys.exit(main(sys.argv[1:]))"
    for arguments, expected in (
        (["engines"], "raw.yond"),
        (["models", "check"], "yond-snrnet-small  in order"),
        (["sessions", "--json"], '"sessions": []'),
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    assert (home / "studio.db").is_file()
