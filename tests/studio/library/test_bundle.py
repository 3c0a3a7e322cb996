"""Sessions as files: out, in elsewhere, run again; and what strangers may put into such a file."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.base import UserError
from studio.config import LOCAL, Settings
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from studio.library import unpack
from studio.library.pack import pack
from studio.library.unpack import duplicate_session, import_session
from studio.limits import LimitReached
from studio.recipes.recipe import Recipe, Step
from studio.recipes.runs import Recipes
from studio.workspace import tree_bytes
from tests.studio.scenes import ENGINE, finished, scene_of, texts

pytestmark = pytest.mark.usefixtures("tiny_engine")
Change = Callable[[dict[str, Any], zipfile.ZipFile], None]


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Studio:
    """Another home; it runs nothing by itself."""
    return Studio(Settings(home=tmp_path / "elsewhere", executor="inline"))


def _exported(studio: Studio, tmp_path: Path) -> tuple[Path, list[JobView]]:
    scene = scene_of(studio)
    jobs = finished(scene, texts(tmp_path, "Küste.txt", "b.txt"), batch="b" * 32, repeat=2)
    jobs += finished(scene, [tmp_path / "b.txt"], fail="user")
    file = tmp_path / "session.zip"
    file.write_bytes(b"".join(pack(studio, LOCAL, scene.session.id).stream()))
    return file, jobs


def test_a_session_goes_elsewhere_and_every_job_runs_there_again(
    studio: Studio, elsewhere: Studio, tmp_path: Path
) -> None:
    file, jobs = _exported(studio, tmp_path)
    for path in tmp_path.glob("*.txt"):
        path.unlink()  # they are not needed any more
    made = import_session(elsewhere, LOCAL, file)
    found = elsewhere.jobs(LOCAL, made.id, newest_first=False)
    assert (made.name, made.jobs) == (studio.sessions(LOCAL)[0].name, 3)
    for job, before in zip(found, jobs, strict=True):
        assert job.id != before.id
        assert (job.engine, dict(job.params), job.state, job.seed, job.error) == (
            before.engine, dict(before.params), before.state, before.seed, before.error,
        )  # fmt: skip
        assert dict(job.measurements) == dict(before.measurements)
        assert job.created == before.created
        assert [(f.name, f.sha256) for f in job.outputs] == [
            (f.name, f.sha256) for f in before.outputs
        ]
        assert all(f.path.is_relative_to(elsewhere.settings.home) for f in job.inputs)
        assert [f.path.read_bytes() for f in job.outputs] == [
            f.path.read_bytes() for f in before.outputs
        ]
    assert found[0].batch == found[1].batch != jobs[0].batch
    assert found[1].inputs[0].path == found[2].inputs[0].path  # an input is there once
    elsewhere.start()
    try:
        again = elsewhere.rerun(LOCAL, found[0].id)
        [done] = elsewhere.wait(LOCAL, [again], poll=0.01)
        assert done.outputs[0].sha256 == jobs[0].outputs[0].sha256
    finally:
        elsewhere.stop()
    assert all(job.outputs[0].path.is_file() for job in found[:2])  # the start took nothing away


def _chains(studio: Studio, inputs: list[Path]) -> list[JobView]:
    """Two runs of a recipe: one that kept what lies between, one that failed in the middle."""
    session = scene_of(studio).session.id
    for params in ({"end": "dot"}, {"fail": "user"}):
        steps = tuple(Step(ENGINE, one) for one in ({"upper": True}, params, {}))
        chains = Recipes(studio).submit(LOCAL, session, Recipe("Chain", steps, keep=True), inputs)
        studio.wait(LOCAL, [one for chain in chains for one in chain], poll=0.01)
    return studio.jobs(LOCAL, session, newest_first=False)


def _links(jobs: list[JobView]) -> list[tuple[str, int | None, dict[str, Any]]]:
    places = {job.id: place for place, job in enumerate(jobs)}
    return [(job.name, places.get(job.parent or ""), dict(job.recipe)) for job in jobs]


def test_steps_of_a_recipe_still_follow_one_another_elsewhere(
    studio: Studio, elsewhere: Studio, tmp_path: Path
) -> None:
    jobs = _chains(studio, texts(tmp_path, "a.txt"))
    file = tmp_path / "session.zip"
    packed = pack(studio, LOCAL, jobs[0].session_id)
    file.write_bytes(b"".join(packed.stream()))
    assert len([name for name in packed.sources if name.startswith("inputs/")]) == 1
    there = import_session(elsewhere, LOCAL, file)
    copied = duplicate_session(studio, LOCAL, jobs[0].session_id)
    for place, session in ((elsewhere, there), (studio, copied)):
        found = place.jobs(LOCAL, session.id, newest_first=False)
        assert _links(found) == _links(jobs)
        assert [place for _, place, _ in _links(found)] == [None, 0, 1, None, 3, 4]
        assert {name for name, _, _ in _links(found)} == {"a.txt"}
        for before, after in ((found[0], found[1]), (found[1], found[2])):
            assert after.inputs[0].path == before.outputs[0].path
    elsewhere.start()
    try:  # what failed goes on where it stopped
        failed = elsewhere.jobs(LOCAL, there.id, newest_first=False)[3:]
        assert [job.state for job in failed] == ["done", "failed", "cancelled"]
        assert Recipes(elsewhere).retry(LOCAL, str(failed[0].batch)) == 1
        ended = elsewhere.wait(LOCAL, [job.id for job in failed], poll=0.01)
        assert [job.state for job in ended] == ["done", "failed", "cancelled"]
        assert ended[1].inputs[0].path == ended[0].outputs[0].path
    finally:
        elsewhere.stop()


def test_the_file_says_nothing_of_the_machine(studio: Studio, tmp_path: Path) -> None:
    file, jobs = _exported(studio, tmp_path)
    with zipfile.ZipFile(file) as packed:
        assert packed.testzip() is None
        text = packed.read("session.json").decode()
        names = packed.namelist()
    assert str(tmp_path) not in text
    assert "/" not in json.loads(text)["jobs"][0]["files"][0]["name"]
    assert not any(job.id in text for job in jobs)
    assert f"inputs/{jobs[0].inputs[0].sha256}/Küste.txt" in names
    assert len([name for name in names if name.startswith("inputs/")]) == 2


def test_what_is_gone_is_named_and_its_row_still_goes_along(
    studio: Studio, elsewhere: Studio, tmp_path: Path
) -> None:
    _, jobs = _exported(studio, tmp_path)
    jobs[0].outputs[0].path.unlink()
    packed = pack(studio, LOCAL, scene_of(studio).session.id)
    assert packed.missing == [jobs[0].outputs[0].name]
    (tmp_path / "again.zip").write_bytes(b"".join(packed.stream()))
    made = import_session(elsewhere, LOCAL, tmp_path / "again.zip", "Mine")
    first = elsewhere.jobs(LOCAL, made.id, newest_first=False)[0]
    assert first.outputs[0].missing
    assert made.name == "Mine"


def test_a_visitor_keeps_no_more_by_copying(
    settings: Settings, tiny_engine: str, tmp_path: Path
) -> None:
    shared = Studio(replace(settings, space=True, max_stored_mb=1, min_free_mb=0))
    visitor = "f" * 32
    shared.start()
    try:
        session = shared.open_session(visitor).id
        text = tmp_path / "a.txt"
        text.write_text("x" * 300_000)
        ids = shared.submit(visitor, session, ENGINE, [[text]], {}, uploads=True)
        shared.wait(visitor, ids, poll=0.01)
        file = tmp_path / "session.zip"
        file.write_bytes(b"".join(pack(shared, visitor, session).stream()))
        for again in (
            lambda: duplicate_session(shared, visitor, session),
            lambda: import_session(shared, visitor, file),
        ):
            with pytest.raises(LimitReached, match="can keep up to 1 MB here"):
                again()
        small = shared.new_session(visitor, "Nothing").id
        for _ in range(98):
            shared.new_session(visitor)
        for again in (
            lambda: duplicate_session(shared, visitor, small),
            lambda: shared.new_session(visitor),
        ):
            with pytest.raises(LimitReached, match="At most 100 sessions"):
                again()
        assert len(shared.sessions(visitor)) == 100
    finally:
        shared.stop()


# What strangers send


def _changed(file: Path, change: Change) -> Path:
    """The same archive with another manifest, or other members."""
    made = file.with_name("changed.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(made, "w") as new:
        manifest = json.loads(old.read("session.json"))
        change(manifest, new)
        for info in old.infolist():
            if info.filename != "session.json" and info.filename not in new.namelist():
                new.writestr(info, old.read(info))
        new.writestr("session.json", json.dumps(manifest))
    return made


def _first_output(manifest: dict[str, Any]) -> dict[str, Any]:
    return next(file for file in manifest["jobs"][0]["files"] if file["role"] == "output")


def _leads_out(manifest: dict[str, Any], new: zipfile.ZipFile) -> None:
    file = _first_output(manifest)
    file.update(folder=True, facts={"folder": True}, stored="results/evil", sha256="")
    new.writestr("results/evil/../../../../evil.txt", "evil")


def _link(manifest: dict[str, Any], new: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("results/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    new.writestr(info, "/etc/passwd")
    _first_output(manifest)["stored"] = "results/link"


def _changed_content(manifest: dict[str, Any], new: zipfile.ZipFile) -> None:
    new.writestr(_first_output(manifest)["stored"], "something else")


def _sets(*path: str | int, value: Any) -> Change:
    def change(manifest: dict[str, Any], new: zipfile.ZipFile) -> None:
        at: Any = manifest
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value

    return change


def _odd_pairs(manifest: dict[str, Any], new: zipfile.ZipFile) -> None:
    manifest["jobs"][0]["files"].append({"role": "before", "kind": "image", "name": "a.png"})


_STEP = {
    "engine": ENGINE, "params": {}, "state": "cancelled", "files": [], "parent": 0,
    "created": "2026-11-24T08:00:00Z", "recipe": {"name": "Chain", "step": 2, "steps": 2},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_leads_out, "leads elsewhere"),
        (_link, "is missing"),
        (_changed_content, "is not what it was"),
        (_odd_pairs, "not as many before as after"),
        (_sets("version", value=3), "newer Noise Studio"),
        (_sets("jobs", 1, "parent", value=0), "and no recipe"),
        (_sets("jobs", 0, value=_STEP), "comes before the one that it follows"),
        (_sets("format", value="zip"), "no session that can be read"),
        (_sets("jobs", 0, "state", value="running"), "no session that can be read"),
        (_sets("jobs", 0, "seed", value=2**63), "no session that can be read"),
        (_sets("jobs", 0, "owner", value="ben"), "no session that can be read"),
        (_sets("jobs", 0, "measurements", value=[{"name": "K", "value": "NaN"}]), "be read"),
        (_sets("jobs", 0, "files", 0, "name", value=""), "no session that can be read"),
        (_sets("jobs", 0, "files", 0, "stored", value="inputs/none"), "is missing"),
    ],
)  # fmt: skip
def test_what_is_no_session_is_refused_and_nothing_of_it_stays(
    studio: Studio, elsewhere: Studio, tmp_path: Path, change: Change, why: str
) -> None:
    file, _ = _exported(studio, tmp_path)
    with pytest.raises(UserError, match=why):
        import_session(elsewhere, LOCAL, _changed(file, change))
    assert elsewhere.sessions(LOCAL) == []
    home = elsewhere.settings
    assert [tree_bytes(folder) for folder in (home.outputs, home.uploads, home.cache)] == [0, 0, 0]
    assert not (tmp_path / "evil.txt").exists()


def test_names_that_lead_out_become_names(
    studio: Studio, elsewhere: Studio, tmp_path: Path
) -> None:
    file, _ = _exported(studio, tmp_path)
    evil = _changed(file, lambda manifest, _: _first_output(manifest).update(name="../../evil.txt"))
    import_session(elsewhere, LOCAL, evil)
    assert [path.parent.parent.parent for path in tmp_path.rglob("*evil.txt")] == [
        elsewhere.settings.outputs
    ]


def test_bombs_and_half_files_are_refused(
    studio: Studio, elsewhere: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, _ = _exported(studio, tmp_path)
    monkeypatch.setattr(unpack, "_ANYHOW", 1000)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("session.json", old.read("session.json"))
        new.writestr("results/0001/zeros", b"\0" * 5_000_000)
    with pytest.raises(UserError, match="would grow to"):
        import_session(elsewhere, LOCAL, bomb)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="no whole zip"):
        import_session(elsewhere, LOCAL, file)
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as new:
        new.writestr("notes.txt", "no session")
    with pytest.raises(UserError, match="no session of Noise Studio"):
        import_session(elsewhere, LOCAL, other)
