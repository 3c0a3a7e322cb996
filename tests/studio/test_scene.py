"""One look at the studio: only the visitor's own things, each asked for once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from studio.jobs.service import Studio
from studio.scene import digest, engine_or_none, item_name, tab_id, tab_of
from tests.studio.scenes import finished, scene_of, texts

pytestmark = pytest.mark.usefixtures("tiny_engine")


def test_a_tab_is_named_for_the_address() -> None:
    assert tab_id("RAW") == "raw"
    assert tab_id("Super-resolution") == "super-resolution"
    assert tab_id("Two  Words") == "two-words"


def test_only_own_jobs_are_there(studio: Studio, tmp_path: Path) -> None:
    mine, theirs = scene_of(studio), scene_of(studio, "a" * 32)
    [job] = finished(mine, texts(tmp_path, "a.txt"), batch="b" * 32)
    found = mine.job(job.id)
    assert found is not None
    assert found.id == job.id
    assert theirs.job(job.id) is None
    assert mine.job(None) is None
    assert mine.job("nothing") is None
    assert [one.id for one in mine.batch("b" * 32)] == [job.id]
    assert theirs.batch("b" * 32) == []
    assert mine.batch(None) == []


def test_a_job_is_called_by_its_file_and_shown_on_its_engines_tab(
    studio: Studio, tmp_path: Path
) -> None:
    [job] = finished(scene_of(studio), texts(tmp_path, "note.txt"))
    assert item_name(job) == "note.txt"
    assert item_name(replace(job, inputs=())) == "Invert"
    assert tab_of(job) == "demo"
    assert tab_of(replace(job, engine="gone.engine")) == ""
    assert engine_or_none("gone.engine") is None


def test_a_digest_tells_contents_apart() -> None:
    assert digest("a") == digest("a") != digest("b")
