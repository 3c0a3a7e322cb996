"""Folders on the command line: order, what is done already, the page that sums up."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from studio.cli import main
from studio.commands.batch import natural


@pytest.fixture
def shoot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three texts, with `tmp_path` as the current folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "shoot"
    folder.mkdir()
    for name in ("IMG_2", "IMG_10", "IMG_1"):
        (folder / f"{name}.txt").write_text(name)
    return folder


def _run(engine: str, *more: str) -> int:
    return main(["--executor", "inline", "run", engine, "shoot", "--out", "out", *more])


def _inputs(text: str) -> list[str]:
    return [Path(job["input"]).name for job in json.loads(text)["jobs"]]


def test_names_sort_as_people_count() -> None:
    names = ["b", "IMG_10", "img_9", "IMG_2b", "IMG_2", "a10b2", "a10b10", "2"]
    assert sorted(names, key=natural) == [
        "2", "a10b2", "a10b10", "b", "IMG_2", "IMG_2b", "img_9", "IMG_10",
    ]  # fmt: skip


def test_what_is_done_is_left(
    tiny_engine: str, shoot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tiny_engine, "--skip-done", "--json") == 0
    assert _inputs(capsys.readouterr().out) == ["IMG_1.txt", "IMG_2.txt", "IMG_10.txt"]
    results = sorted((shoot.parent / "out").iterdir())
    times = [path.stat().st_mtime_ns for path in results]
    (shoot / "IMG_3.txt").write_text("new")
    (shoot / "IMG_2.txt").write_text("other")
    later = os.stat(shoot / "IMG_2.txt").st_mtime + 5
    os.utime(shoot / "IMG_2.txt", (later, later))
    assert _run(tiny_engine, "--skip-done", "--json") == 0
    captured = capsys.readouterr()
    assert "2 of 4 were done before" in captured.err
    document = json.loads(captured.out)
    assert [job["state"] for job in document["jobs"]] == ["done"] * 4
    again = {path.name: path.stat().st_mtime_ns for path in (shoot.parent / "out").iterdir()}
    assert [again[path.name] for path in results if "IMG_2" not in path.name] == [
        time for path, time in zip(results, times, strict=True) if "IMG_2" not in path.name
    ]
    assert any("IMG_3" in name for name in again)
    results[0].unlink()  # a result that went is made again
    assert _run(tiny_engine, "--skip-done", "--json") == 0
    assert results[0].is_file()


def test_other_settings_are_not_done_before(
    tiny_engine: str, shoot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tiny_engine) == 0
    capsys.readouterr()
    assert _run(tiny_engine, "--skip-done", "--param", "repeat=2") == 0
    assert "were done before" not in capsys.readouterr().err


def test_a_page_sums_up(tiny_engine: str, shoot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shoot / "<bad>.txt").write_bytes(b"\xff\xfe")
    assert _run(tiny_engine, "--summary") == 1
    page = (shoot.parent / "out" / "summary.html").read_text()
    assert "Summary: out/summary.html" in capsys.readouterr().err
    assert "3 of 4 files done, 1 not" in page
    assert page.index("IMG_1.txt") < page.index("IMG_2.txt") < page.index("IMG_10.txt")
    assert "&lt;bad&gt;.txt" in page
    assert "<bad>" not in page
    assert "This is no text" in page
    assert "characters</th>" in page
    assert _run(tiny_engine, "--summary", "--skip-done") == 1
    assert (shoot.parent / "out" / "summary.html").read_text().count("done before") == 3
