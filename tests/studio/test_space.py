"""What makes the repository a Space and a container: files that must agree, and ZeroGPU."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import yaml

import launch
from engines.base import UserError
from studio.config import SPACE, Settings
from studio.docs.settings import table
from studio.jobs import zero
from studio.jobs.task import Outcome, Progress, Task
from studio.options import OPTIONS
from studio.space import home_of_space
from tests import engines_for_tests

ROOT = Path(__file__).parents[2]


def test_the_front_matter_is_what_is_installed() -> None:
    _, head, text = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    facts = yaml.safe_load(head)
    assert text.lstrip().startswith("# Noise Studio")
    assert facts["sdk"] == "gradio"
    assert facts["sdk_version"] == launch.pins(ROOT)["gradio"]
    assert facts["python_version"] == ".".join(map(str, launch.OLDEST))
    assert (ROOT / facts["app_file"]).is_file()
    assert facts["license"] in (ROOT / "pyproject.toml").read_text(encoding="utf-8").lower()
    assert len(facts["short_description"]) <= 60


def test_the_container_has_every_room_and_is_nobody_in_particular() -> None:
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    copied = set(re.findall(r"\S+", " ".join(re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE))))
    assert {"assets", "db", "engines", "kernels", "studio", "launch.py"} <= copied
    for name in copied:
        assert (ROOT / name).exists(), name
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    assert all(f"!{name}\n" in allowed for name in copied)
    assert re.search(r"^USER 1000$", text, re.MULTILINE)
    assert "/studio/alive" in text
    for variable in set(re.findall(r"STUDIO_[A-Z_]+", text)) - {"NOISE_STUDIO_NO_VENV"}:
        assert variable in {one.variable for one in OPTIONS} | {"STUDIO_NO_VENV"}


def test_every_setting_is_documented() -> None:
    assert table() in (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    names = {one.name for one in OPTIONS}
    assert set(SPACE) <= names | {"open_browser"}
    assert {name for name in Settings.__dataclass_fields__ if name.startswith("max_")} <= names


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("STUDIO_KEEP_HOURS", "0.5")
    monkeypatch.setenv("STUDIO_MAX_FILES", "0")
    monkeypatch.setenv("STUDIO_AUTH", "ann:long secret\nben:another one")
    monkeypatch.setenv("STUDIO_MCP", "yes")
    settings = Settings.load(max_upload_mb=7)
    assert (settings.keep_hours, settings.max_files, settings.max_upload_mb) == (0.5, 0, 7)
    assert settings.max_waiting_jobs == SPACE["max_waiting_jobs"]
    assert [user for user, _ in settings.auth] == ["ann", "ben"]
    assert settings.mcp
    for name, wrong in (
        ("STUDIO_PORT", "0"),
        ("STUDIO_MAX_FILES", "-1"),
        ("STUDIO_MCP", "maybe"),
        ("STUDIO_KEEP_HOURS", "nan"),
        ("STUDIO_AUTH", "ann:short"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, wrong)
            with pytest.raises(UserError):
                Settings.load()


def test_a_persistent_disk_is_used_where_it_knows_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home_of_space(tmp_path) == (str(tmp_path), True)
    assert home_of_space(tmp_path / "none") == (None, False)
    assert not list(tmp_path.iterdir())
    connect = sqlite3.connect

    def without_locks(path: Any, **rest: Any) -> sqlite3.Connection:
        made = connect(f"file:{path}?nolock=1", uri=True, **rest)
        made.execute("pragma journal_mode=delete")
        return made

    monkeypatch.setattr(sqlite3, "connect", without_locks)
    assert home_of_space(tmp_path) == (None, False)


# ZeroGPU, with a stand-in for the package: another thread is another process as far as it goes


def task(tmp_path: Path, **params: Any) -> Task:
    (tmp_path / "work").mkdir()
    text = tmp_path / "a.txt"
    text.write_text("some text")
    values = engines_for_tests.InvertParams(**params).model_dump(mode="json")
    return Task(
        "job", engines_for_tests.INVERT, {}, (str(text),), values, "cpu", 0,
        str(tmp_path / "work"), str(tmp_path), owner="ann", cache=str(tmp_path / "cache"),
    )  # fmt: skip


_who: ContextVar[str] = ContextVar("who", default="nobody")


def test_a_job_borrows_a_card_on_the_quota_of_who_asked(tmp_path: Path, tiny_engine: str) -> None:
    charged: list[tuple[int, str]] = []

    def gpu(*, duration: int) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            def borrowed(*arguments: Any) -> Any:
                charged.append((duration, _who.get()))
                return function(*arguments)

            return borrowed

        return decorate

    _who.set("ann's request")
    zero.remember("ann")
    _who.set("somebody else's")
    executor = zero.ZeroExecutor(90, gpu)
    told: list[Progress] = []
    outcome = executor.run(task(tmp_path, seconds=0.8), told.append, lambda: False)
    assert (outcome.state, outcome.error) == ("done", None)
    assert charged == [(90, "ann's request")]
    assert any(one.text.startswith("step") for one in told)
    assert not list((tmp_path / "cache" / "zero").iterdir())


def test_a_borrowed_job_stops_and_a_quota_is_told(tmp_path: Path, tiny_engine: str) -> None:
    executor = zero.ZeroExecutor(90, lambda **_: lambda function: function)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            executor.run, task(tmp_path, seconds=60.0), lambda _: None, lambda: True
        )
        assert asked.result(timeout=20).state == "cancelled"

    def exhausted(*_: Any) -> Outcome:
        raise RuntimeError("You have exceeded your quota\n(90s requested vs. 5s left)")

    executor = zero.ZeroExecutor(90, lambda **_: lambda _function: exhausted)
    (tmp_path / "again").mkdir()
    outcome = executor.run(task(tmp_path / "again"), lambda _: None, lambda: False)
    assert outcome.error == "You have exceeded your quota (90s requested vs. 5s left)"
