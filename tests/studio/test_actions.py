"""What the page's buttons do, and that they do nothing to other people's things."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.base import UserError
from engines.weights import bundled
from studio.actions import Actions, Effect
from studio.jobs.service import Studio
from studio.scene import Scene
from tests.studio.scenes import ENGINE, TAB, finished, inbox_of, scene_of, submitted, texts

pytestmark = pytest.mark.usefixtures("tiny_engine")
STRANGER = "f" * 32


@pytest.fixture
def actions(studio: Studio, tmp_path: Path) -> Actions:
    [example] = texts(tmp_path, "example.txt")
    return Actions(studio, inbox_of(studio), {TAB: example})


@pytest.fixture
def scene(studio: Studio) -> Scene:
    return scene_of(studio)


def test_an_unknown_button_is_a_sentence(actions: Actions, scene: Scene) -> None:
    for data in ({}, {"do": "explode"}):
        with pytest.raises(UserError, match="reload the page"):
            actions.do(data, scene)


def test_open_shows_a_job_on_its_tab(actions: Actions, scene: Scene, tmp_path: Path) -> None:
    [job] = finished(scene, texts(tmp_path, "a.txt"), batch="b" * 32)
    scene.view.coming[TAB] = "earlier"
    assert actions.do({"do": "open", "key": job.id}, scene) == Effect(tab=TAB, job=job.id)
    assert scene.view.open == {TAB: job.id}
    assert scene.view.coming == {}


def test_open_of_what_waits_awaits_it(actions: Actions, scene: Scene, tmp_path: Path) -> None:
    ids = submitted(scene, texts(tmp_path, "a.txt", "b.txt"), batch="b" * 32, seconds=30)
    actions.do({"do": "open", "key": ids[1]}, scene)
    assert scene.view.coming == {TAB: "b" * 32}
    actions.do({"do": "cancel-all"}, scene)


def test_use_gives_the_settings_back(actions: Actions, scene: Scene, tmp_path: Path) -> None:
    [job] = finished(scene, texts(tmp_path, "a.txt"), repeat=3, end="dot")
    effect = actions.do({"do": "use", "key": job.id}, scene)
    assert (effect.tab, effect.engine) == (TAB, ENGINE)
    assert (effect.params["repeat"], effect.params["end"]) == (3, "dot")
    assert effect.said == "The form now holds the settings of a.txt"


def test_rerun_queues_the_same_again_and_awaits_it(
    actions: Actions, scene: Scene, studio: Studio, tmp_path: Path
) -> None:
    [job] = finished(scene, texts(tmp_path, "a.txt"), upper=True)
    assert actions.do({"do": "rerun", "key": job.id}, scene) == Effect(tab=TAB)
    [again] = studio.jobs(scene.owner, batch=scene.view.coming[TAB])
    assert again.id != job.id
    assert again.params == job.params
    studio.wait(scene.owner, [again.id], poll=0.01)


def test_retry_takes_the_failed_alone(
    actions: Actions, scene: Scene, studio: Studio, tmp_path: Path
) -> None:
    paths = texts(tmp_path, "a.txt", "b.txt", "c.txt")
    paths[1].write_bytes(b"\xff")
    finished(scene, paths, batch="b" * 32, repeat=2)
    actions.do({"do": "retry-failed", "key": "b" * 32}, scene)
    batch = scene.view.coming[TAB]
    [again] = studio.wait(scene.owner, [one.id for one in studio.batch(scene.owner, batch)])
    assert [file.name for file in again.inputs] == ["b.txt"]
    assert again.params["repeat"] == 2
    with pytest.raises(UserError, match="Nothing of this batch has failed"):
        actions.do({"do": "retry-failed", "key": "nothing"}, scene)


def test_delete_opens_the_next_of_the_batch(
    actions: Actions, scene: Scene, studio: Studio, tmp_path: Path
) -> None:
    first, second = finished(scene, texts(tmp_path, "a.txt", "b.txt"), batch="b" * 32)
    scene.view.open[TAB] = first.id
    actions.do({"do": "delete", "key": first.id}, scene)
    assert scene.view.open == {TAB: second.id}
    later = scene_of(studio, view=scene.view)
    actions.do({"do": "delete", "key": second.id}, later)
    assert scene.view.open == {}
    assert studio.jobs(scene.owner) == []
    assert (tmp_path / "a.txt").exists()


def test_cancel_stops_one_or_all(
    actions: Actions, scene: Scene, studio: Studio, tmp_path: Path
) -> None:
    ids = submitted(scene, texts(tmp_path, "a.txt", "b.txt", "c.txt"), seconds=30)
    actions.do({"do": "cancel", "key": ids[2]}, scene)
    assert studio.job(scene.owner, ids[2]).state == "cancelled"
    actions.do({"do": "cancel-all"}, scene)
    states = {job.state for job in studio.wait(scene.owner, ids, poll=0.01)}
    assert states == {"cancelled"}


def test_what_was_deleted_can_be_brought_back_and_is_gone_from_the_page_until_then(
    actions: Actions, scene: Scene, studio: Studio, tmp_path: Path
) -> None:
    [job] = finished(scene, texts(tmp_path, "a.txt"))
    effect = actions.do({"do": "delete", "key": job.id}, scene)
    assert (effect.said, effect.undo) == ("a.txt is in the trash", job.id)
    with pytest.raises(UserError, match="does not exist"):
        actions.do({"do": "open", "key": job.id}, scene)
    assert job.outputs[0].path.is_file()
    actions.do({"do": "restore", "key": job.id}, scene)
    assert scene.view.open == {TAB: job.id}
    with pytest.raises(UserError, match="no longer in the trash"):
        actions.do({"do": "restore", "key": job.id}, scene)


def test_a_result_of_another_session_is_opened_in_that_one(
    actions: Actions, scene: Scene, studio: Studio, tmp_path: Path
) -> None:
    [job] = finished(scene, texts(tmp_path, "a.txt"))
    there = replace(scene, session=studio.new_session(scene.owner, "Another"))
    effect = actions.do({"do": "open", "key": job.id}, there)
    assert (effect.session, effect.tab, effect.job) == (scene.session.id, TAB, job.id)


def test_sessions_are_made_renamed_switched_and_deleted(
    actions: Actions, scene: Scene, studio: Studio
) -> None:
    first = scene.session.id
    made = actions.do({"do": "new-session", "text": "  Night sky "}, scene).session
    assert made is not None
    names = {one.id: one.name for one in studio.sessions(scene.owner)}
    assert names[made] == "Night sky"
    there = replace(scene, session=studio.open_session(scene.owner, made))
    actions.do({"do": "rename-session", "text": "Stars"}, there)
    assert studio.open_session(scene.owner, made).name == "Stars"
    with pytest.raises(UserError, match="needs a name"):
        actions.do({"do": "rename-session", "text": "  "}, there)
    assert actions.do({"do": "session", "key": first}, there).session == first
    with pytest.raises(UserError, match="no such session"):
        actions.do({"do": "session", "key": "x"}, there)
    assert actions.do({"do": "delete-session"}, there).session == ""
    assert [one.id for one in studio.sessions(scene.owner)] == [first]


def test_a_session_is_duplicated_with_its_results(
    actions: Actions, scene: Scene, studio: Studio, tmp_path: Path
) -> None:
    [job] = finished(scene, texts(tmp_path, "a.txt"))
    made = actions.do({"do": "duplicate-session", "text": " Second "}, scene).session
    [copy] = studio.jobs(scene.owner, made)
    assert copy.id != job.id
    assert copy.outputs[0].path.read_text() == job.outputs[0].path.read_text()
    assert copy.inputs[0].path == job.inputs[0].path  # a file of the person's stays where it is
    studio.delete_job(scene.owner, copy.id)
    assert job.outputs[0].path.is_file()


def test_chosen_files_come_and_go(actions: Actions, scene: Scene, studio: Studio) -> None:
    inbox = inbox_of(studio)
    actions.do({"do": "example", "tab": TAB}, scene)
    [file] = inbox.files(scene.session.id, TAB)
    assert file.path.name == "example.txt"
    actions.do({"do": "remove-file", "tab": TAB, "key": file.key}, scene)
    assert inbox.files(scene.session.id, TAB) == []
    actions.do({"do": "example", "tab": TAB}, scene)
    actions.do({"do": "clear-files", "tab": TAB}, scene)
    assert inbox.files(scene.session.id, TAB) == []
    assert file.path.exists()
    with pytest.raises(UserError, match="no example"):
        actions.do({"do": "example", "tab": "raw"}, scene)


@pytest.mark.parametrize("action", ["open", "use", "rerun", "delete", "restore", "cancel"])
def test_nobody_elses_job_is_reached(
    actions: Actions, scene: Scene, studio: Studio, tmp_path: Path, action: str
) -> None:
    [job] = finished(scene, texts(tmp_path, "a.txt"), batch="b" * 32)
    stranger = scene_of(studio, STRANGER)
    with pytest.raises(UserError):
        actions.do({"do": action, "key": job.id}, stranger)
    with pytest.raises(UserError, match="no such session"):
        actions.do({"do": "session", "key": scene.session.id}, stranger)
    assert [one.id for one in studio.jobs(scene.owner)] == [job.id]
    assert studio.jobs(STRANGER) == []
    assert stranger.view.open == stranger.view.coming == {}


def test_bundled_weights_stay_and_weights_of_a_shared_studio_too(
    actions: Actions, scene: Scene, shared: Studio
) -> None:
    for file in bundled():
        with pytest.raises(UserError, match="ships with the studio"):
            actions.do({"do": "remove-model", "key": file.id}, scene)
    with pytest.raises(UserError, match="no weights called"):
        actions.do({"do": "remove-model", "key": "x"}, scene)
    theirs = Actions(shared, inbox_of(shared), {})
    with pytest.raises(UserError, match="they stay"):
        theirs.do({"do": "remove-model", "key": "x"}, scene_of(shared, STRANGER))


def test_a_notice_can_be_closed(actions: Actions, scene: Scene) -> None:
    assert actions.do({"do": "dismiss"}, scene) == Effect()
