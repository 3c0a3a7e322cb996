"""Sessions and the library from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.cli import main
from studio.config import LOCAL
from studio.jobs.service import Studio
from tests.studio.scenes import finished, scene_of, texts

pytestmark = pytest.mark.usefixtures("tiny_engine")
Out = pytest.CaptureFixture[str]


def test_jobs_are_narrowed_as_on_the_page(studio: Studio, tmp_path: Path, capsys: Out) -> None:
    finished(scene_of(studio), texts(tmp_path, "coast.txt", "harbour at night.txt"))
    finished(scene_of(studio), [tmp_path / "coast.txt"], fail="user")

    def names(*options: str) -> list[str]:
        assert main(["jobs", "--json", *options]) == 0
        found = json.loads(capsys.readouterr().out)["jobs"]
        return [Path(job["inputs"][0]["path"]).stem for job in found]

    assert names("--search", "COAST", "--state", "done") == ["coast"]
    assert names("--measured", "characters > 10", "--since", "2026-01-01") == ["harbour at night"]
    session = studio.sessions(LOCAL)[0].name
    assert names("--session", session, "--sort", "oldest", "--limit", "1") == ["coast"]
    for options in (["--measured", "K"], ["--since", "soon"]):
        assert main(["jobs", *options]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_session_is_renamed_copied_exported_imported_and_deleted(
    studio: Studio, tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finished(scene_of(studio), texts(tmp_path, "a.txt"))
    first = studio.sessions(LOCAL)[0]
    assert main(["sessions", "rename", first.id[:8], "Küste: früh"]) == 0
    assert main(["sessions", "duplicate", "Küste: früh", "Second"]) == 0
    assert main(["sessions", "export", "Second"]) == 0
    capsys.readouterr()
    assert main(["sessions", "export", "Second", "--out", "Second.zip"]) == 2
    assert "Second.zip is there already" in capsys.readouterr().err
    assert main(["sessions", "import", "Second.zip", "--name", "Third", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jobs"] == 1
    assert main(["sessions", "delete", "Second"]) == 0
    assert [one.name for one in studio.sessions(LOCAL)] == ["Third", "Küste: früh"]
    assert main(["sessions", "delete", "Second"]) == 2
    assert main(["sessions", "import", "none.zip"]) == 2
    assert sorted(path.name for path in tmp_path.glob("*.zip")) == ["Second.zip"]


def test_clean_empties_the_trash_where_it_is_asked_to(
    studio: Studio, tmp_path: Path, capsys: Out
) -> None:
    [job] = finished(scene_of(studio), texts(tmp_path, "a.txt"))
    studio.store.to_trash(LOCAL, [job.id])
    studio.stop()
    assert main(["jobs", "--trash", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["jobs"]) == 1
    assert main(["clean"]) == 0
    assert job.outputs[0].path.is_file()
    assert main(["clean", "--trash"]) == 0
    assert not job.outputs[0].path.exists()
