"""Both models of a question, where there is memory for two, for one, and for none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.quantize import ask
from engines.quantize.ask import ANSWER, AskEngine, AskParams
from engines.quantize.runtime import load_model, room
from tests.engines.quantize.test_process import FolderJob
from tests.language_models import write_model


@pytest.fixture
def both(tmp_path: Path) -> Iterator[list[Path]]:
    yield [write_model(tmp_path / name) for name in ("first", "second")]
    AskEngine.forget()


def answers(inputs: list[Path], folder: Path) -> dict[str, Any]:
    job = FolderJob(folder)
    AskEngine().run(inputs, AskParams(key="key", prompt="The", max_tokens=2), job)
    return json.loads((job.resumable("key") / ANSWER).read_text())


@pytest.mark.parametrize("models", [0, 1, 2])
def test_models_that_fit_are_asked_and_others_say_so(
    models: int, both: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = 1.2 * room.taken(both[0])
    monkeypatch.setattr(room, "free", lambda _: (models - len(ask._kept)) * one)
    found = answers(both, tmp_path / "job")
    states = {side: answer["state"] for side, answer in found.items()}
    assert states == dict.fromkeys(("original", "quantized"), "done" if models else "failed")
    assert len(ask._kept) == models  # of two that do not fit together the first makes room
    if not models:
        assert found["original"]["error"].startswith("first takes ")


def test_what_a_model_takes(both: list[Path]) -> None:
    loaded = load_model(both[0]).model
    held = sum(4 * parameter.numel() for parameter in loaded.parameters())
    assert held <= room.taken(both[0]) <= 1.2 * held
