"""Steps that follow one another through the queue, whatever happens on the way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engines.base import UserError
from studio.config import LOCAL, Settings
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from studio.recipes.recipe import Recipe, Step
from studio.recipes.runs import Recipes
from tests.engines_for_tests import INVERT
from tests.studio.jobs.conftest import Write, assert_sound, assert_tidy, files_below, session_of


def _recipe(*params: dict[str, Any], keep: bool = False) -> Recipe:
    return Recipe("Chain", tuple(Step(INVERT, one) for one in params), keep=keep)


def _run(studio: Studio, recipe: Recipe, inputs: list[Path], **how: Any) -> list[list[JobView]]:
    ids = Recipes(studio).submit(LOCAL, session_of(studio), recipe, inputs, **how)
    studio.wait(LOCAL, [one for chain in ids for one in chain], poll=0.01)
    return [[studio.job(LOCAL, one) for one in chain] for chain in ids]


def _states(chain: list[JobView]) -> list[str]:
    return [job.state for job in chain]


def test_a_step_takes_what_the_one_before_made(studio: Studio, write: Write) -> None:
    inputs = write(2)
    before = [path.read_bytes() for path in inputs]
    found = _run(studio, _recipe({"upper": True}, {"end": "dot"}, {"end": "mark"}), inputs)
    for (one, two, three), path in zip(found, inputs, strict=True):
        text = path.read_text().upper()
        assert three.outputs[0].path.read_text() == f".{text[::-1]}!"
        assert three.inputs[0].sha256
        assert (one.parent, two.parent, three.parent) == (None, one.id, two.id)
        assert one.batch == two.batch == three.batch
        assert [job.step for job in (one, two, three)] == [(1, 3), (2, 3), (3, 3)]
        assert {job.name for job in (one, two, three)} == {path.name}
        assert not one.outputs
        assert not two.outputs  # nothing between the steps was to be kept
        assert one.notes[-1] == "Files between the steps were not kept"
    assert [path.read_bytes() for path in inputs] == before
    assert_tidy(studio, [job for chain in found for job in chain])


def test_what_lies_between_is_kept_on_request(studio: Studio, write: Write, tmp_path: Path) -> None:
    [[one, two]] = _run(studio, _recipe({}, {}, keep=True), write())
    assert one.outputs[0].path.is_file()
    assert two.inputs[0].path == one.outputs[0].path
    assert two.inputs[0].sha256 == one.outputs[0].sha256
    out = tmp_path / "out"
    _run(studio, _recipe({}, {}), write(), out_dir=out)
    assert files_below(out) == {"0.inverted.inverted.txt"}
    _run(studio, _recipe({}, {}, keep=True), write(), out_dir=out)
    assert files_below(out) == {
        "0.inverted.inverted.txt", "0.inverted.inverted-2.txt", "1-demo.invert/0.inverted.txt",
    }  # fmt: skip


def test_a_step_that_fails_takes_its_own_file_alone(studio: Studio, write: Write) -> None:
    inputs = write(3)
    inputs[1].write_bytes(b"\xff")
    good, bad, last = _run(studio, _recipe({}, {}, {}), inputs)
    assert _states(good) == _states(last) == ["done"] * 3
    assert _states(bad) == ["failed", "cancelled", "cancelled"]
    assert bad[1].error == "Not begun, as an earlier step (Invert) did not end"
    middle = _recipe({}, {"fail": "user"}, {})
    [chain] = _run(studio, middle, inputs[:1])
    assert _states(chain) == ["done", "failed", "cancelled"]
    assert chain[0].outputs[0].path.is_file()  # a retry begins here
    assert_sound(studio.settings.home)


def test_cancelling_a_step_cancels_those_behind_it(studio: Studio, write: Write) -> None:
    recipes = Recipes(studio)
    [[first, second, third]] = recipes.submit(
        LOCAL, session_of(studio), _recipe({"seconds": 30.0}, {}, {}), write()
    )
    assert studio.job(LOCAL, third).state == "planned"
    studio.cancel(LOCAL, first)
    found = studio.wait(LOCAL, [first, second, third], poll=0.01)
    assert _states(found) == ["cancelled"] * 3
    ids = recipes.submit(LOCAL, session_of(studio), _recipe({"seconds": 30.0}, {}), write(2))
    assert studio.cancel_all(LOCAL) == 4
    found = studio.wait(LOCAL, [one for chain in ids for one in chain], poll=0.01)
    assert _states(found) == ["cancelled"] * 4
    assert studio.store.waiting(LOCAL) == 0


def test_a_deleted_step_leaves_nobody_waiting(settings: Settings, write: Write) -> None:
    studio = Studio(settings)  # it is not started, so nothing is claimed
    [[first, second]] = Recipes(studio).submit(LOCAL, session_of(studio), _recipe({}, {}), write())
    studio.store.remove_job(LOCAL, first)
    assert studio.job(LOCAL, second).state == "cancelled"
    with closing(sqlite3.connect(settings.home / "studio.db")) as plain:  # by another
        plain.execute("UPDATE jobs SET state = 'planned'")
        plain.commit()
    studio.start()
    try:
        [left] = studio.wait(LOCAL, [second], poll=0.01)
    finally:
        studio.stop()
    assert (left.state, left.error) == (
        "cancelled", "Not begun, as an earlier step was deleted",
    )  # fmt: skip


def test_a_batch_goes_on_at_the_step_where_it_stopped(
    studio: Studio, write: Write, tmp_path: Path
) -> None:
    recipes, session = Recipes(studio), session_of(studio)
    inputs, recipe = write(2), _recipe({"upper": True}, {"end": "dot"}, {"seconds": 0.2})

    def batch() -> list[list[JobView]]:
        ids = recipes.submit_batch(LOCAL, session, recipe, inputs, out_dir=tmp_path / "out")
        studio.wait(LOCAL, [one for chain in ids for one in chain], poll=0.01)
        return [[studio.job(LOCAL, one) for one in chain] for chain in ids]

    ids = recipes.submit_batch(LOCAL, session, recipe, inputs, out_dir=tmp_path / "out")
    studio.wait(LOCAL, [ids[0][1]], poll=0.01)
    for chain in ids:
        studio.cancel(LOCAL, chain[2])
    studio.wait(LOCAL, [one for chain in ids for one in chain], poll=0.01)
    before = [[studio.job(LOCAL, one) for one in chain] for chain in ids]
    again = batch()
    assert [[job.id for job in chain] for chain in again] == ids
    assert {job.state for chain in again for job in chain} == {"done"}
    assert [c[0].finished for c in again] == [c[0].finished for c in before]  # not done again
    assert len(files_below(tmp_path / "out")) == 2
    for chain in again:  # a result that is gone is made anew, from the start if need be
        chain[2].outputs[0].path.unlink()
    assert {job.state for chain in batch() for job in chain} == {"done"}
    assert len(files_below(tmp_path / "out")) == 2
    assert [chain[0].id for chain in batch()] != [chain[0] for chain in ids]  # all there: a new run


def test_a_stop_in_the_middle_goes_on_with_the_step(settings: Settings, write: Write) -> None:
    studio = Studio(settings)
    studio.start()
    recipe = _recipe({}, {"seconds": 60.0}, {})
    [ids] = Recipes(studio).submit(LOCAL, session_of(studio), recipe, write())
    studio.wait(LOCAL, ids[:1], poll=0.01)
    studio.stop()
    with closing(sqlite3.connect(settings.home / "studio.db")) as plain:
        states = [row[0] for row in plain.execute("SELECT state FROM jobs ORDER BY number")]
        assert states in (["done", "interrupted", "planned"], ["done", "queued", "planned"])
        params = '{"seconds": 0, "end": "dot"}'
        plain.execute("UPDATE jobs SET params = ? WHERE number = 2", [params])
        plain.commit()
    studio = Studio(settings)
    studio.start()
    try:
        found = studio.wait(LOCAL, ids, poll=0.01)
    finally:
        studio.stop()
    assert _states(found) == ["done"] * 3
    assert_sound(settings.home)


def test_the_failed_are_tried_again_from_their_own_step(studio: Studio, write: Write) -> None:
    inputs = write(2)
    [good, bad] = _run(studio, _recipe({}, {"without": ["x"]}), inputs)
    recipes = Recipes(studio)
    assert good[0].batch is not None
    with pytest.raises(UserError, match="Nothing of this batch has failed"):
        recipes.retry(LOCAL, good[0].batch)
    bad[1].outputs[0].path.unlink()
    assert recipes.retry(LOCAL, good[0].batch) == 1
    again = studio.wait(LOCAL, [job.id for job in bad], poll=0.01)
    assert _states(again) == ["done", "done"]
    assert again[1].outputs[0].path.is_file()
