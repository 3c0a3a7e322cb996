"""The examples of docs/api.md, run as they stand there, at a studio that strangers share."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.studio.serving import Page, Serve

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
PYTHON, SHELL = ([code for kind, code in BLOCKS if kind == one] for one in ("python", "sh"))


@pytest.fixture(scope="module")
def page(serve: Serve) -> Page:
    return serve(space=True, mcp=True, max_megapixels=50.0)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the picture that the examples expect."""
    Image.new("RGB", (12, 8), "teal").save(tmp_path / "photo.png")
    return tmp_path


def _run(command: list[str], place: Path) -> str:
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _here(code: str, page: Page) -> str:
    assert "http://127.0.0.1:7860" in code
    return code.replace("http://127.0.0.1:7860", page.address)


def test_the_python_client(page: Page, place: Path) -> None:
    said = _run([sys.executable, "-c", _here(PYTHON[0], page)], place)
    assert "'scale'" in said
    assert "photo" in said.splitlines()[-1]


def test_an_agent(page: Page, place: Path) -> None:
    said = _run([sys.executable, "-c", _here(PYTHON[1], page)], place)
    assert "raw_yond" in said
    assert f"done {page.address}/studio/file/" in said


def test_curl(page: Page, place: Path) -> None:
    said = _run(["bash", "-euo", "pipefail", "-c", _here(SHELL[0], page)], place)
    first, last = said.strip().splitlines()
    assert first == "done"
    told = json.loads(last)
    assert (told["title"], told["error"]) == ("not_found", "That job does not exist any more")
    with Image.open(place / "larger.png") as larger:
        assert larger.size == (24, 16)


def test_every_code_and_endpoint_is_documented(page: Page) -> None:
    from typing import get_args

    from studio.api.errors import Code

    for code in get_args(Code):
        assert f"| `{code}` |" in TEXT
    info = page.visitor().get("/gradio_api/info").json()["named_endpoints"]
    assert {f"| `{name}` |" in TEXT for name in info} == {True}
    assert len(info) == 10
