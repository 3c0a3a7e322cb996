"""A watched folder: what is complete is done once, whatever happens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from studio.config import LOCAL, Settings
from studio.jobs.service import Studio
from studio.watching.folder import Folder
from studio.watching.ledger import Ledger
from studio.watching.watch import Told, Watch
from tests.engines_for_tests import INVERT

pytestmark = pytest.mark.usefixtures("tiny_engine")
SETTLE = 3.0


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """One watch of one studio; `looks` lets the clock go on."""

    def __init__(self, studio: Studio, place: Path) -> None:
        self.studio, self.folder, self.out = studio, place / "in", place / "out"
        self.clock = Clock()
        self.told: list[Told] = []
        self.stopped = False
        ledger = Ledger(studio.factory, self.folder, self.out, INVERT)
        files = Folder(self.folder, (".txt",), (self.out,), SETTLE, self.clock)
        session = studio.open_session(LOCAL).id
        self.watch = Watch(
            studio, session, self, ledger, files, self.folder, self.out, self.told.append,
            lambda: self.stopped,
        )  # fmt: skip

    def submit_one(self, session: str, path: Path, out: Path, batch: str) -> list[str]:
        return self.studio.submit(
            LOCAL, session, INVERT, [[path]], {}, out_dir=out, batch=batch, source="cli"
        )

    def looks(self, seconds: float = SETTLE) -> list[str]:
        """Look, let time pass, look again, and wait for what was queued; what was told."""
        self.watch.look()
        self.clock.now += seconds
        self.watch.look()
        ids = [job.id for job in self.studio.jobs(LOCAL, limit=1000)]
        self.studio.wait(LOCAL, ids, poll=0.01)
        self.watch.look()
        said = [f"{one.name} {one.text or one.jobs[-1].state}" for one in self.told]
        self.told.clear()
        return said

    def results(self) -> list[str]:
        found = (path for path in self.out.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.out).as_posix() for path in found)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "in" / "card 2").mkdir(parents=True)
    return tmp_path


@contextmanager
def _studio(settings: Settings, *, running: bool = True) -> Iterator[Studio]:
    studio = Studio(settings)
    if running:
        studio.start()
    try:
        yield studio
    finally:
        studio.stop()


def _write(place: Path, name: str, text: str) -> Path:
    path = place / "in" / name
    path.write_text(text)
    return path


def test_a_file_is_taken_once_it_has_not_changed_for_a_while(studio: Studio, place: Path) -> None:
    scene = Scene(studio, place)
    path = _write(place, "a.txt", "one")
    assert scene.looks(SETTLE - 1) == []
    path.write_text("one, and more")  # it goes on
    assert scene.looks(SETTLE - 1) == []
    assert studio.jobs(LOCAL) == []
    assert scene.looks() == ["a.txt done"]
    assert (place / "out" / "a.inverted.txt").read_text() == "erom dna ,eno"
    assert scene.looks() == []


def test_a_time_that_is_in_the_future_does_not_matter(studio: Studio, place: Path) -> None:
    scene = Scene(studio, place)
    path = _write(place, "a.txt", "one")
    os.utime(path, (4e9, 4e9))
    assert scene.looks() == ["a.txt done"]


def test_names_that_are_temporary_or_not_meant_are_left(studio: Studio, place: Path) -> None:
    for name in (".a.txt", "._a.txt", "~$a.txt", "a.txt.part", "a.txt~", "b.dat", "c.txt.tmp"):
        _write(place, name, name)
    (place / "in" / ".trash").mkdir()
    _write(place, ".trash/d.txt", "d")
    _write(place, "empty.txt", "")
    (place / "in" / "folder.txt").mkdir()
    scene = Scene(studio, place)
    assert scene.looks() == []
    (place / "in" / "a.txt.part").rename(place / "in" / "a.txt")
    assert scene.looks() == ["a.txt done"]


def test_folders_have_their_results_apart_and_results_do_not_come_in(
    studio: Studio, place: Path
) -> None:
    scene = Scene(studio, place)
    scene.out = scene.watch._out = place / "in" / "done"
    scene.watch._files = Folder(scene.folder, (".txt",), (scene.out,), SETTLE, scene.clock)
    _write(place, "card 2/a.txt", "one")
    assert scene.looks() == ["card 2/a.txt done"]
    assert scene.results() == ["card 2/a.inverted.txt"]
    assert scene.looks() == []


def test_nothing_is_done_twice_whatever_it_is_called(settings: Settings, place: Path) -> None:
    with _studio(settings) as studio:
        scene = Scene(studio, place)
        path = _write(place, "a.txt", "one")
        assert scene.looks() == ["a.txt done"]
        shutil.copy(path, place / "in" / "card 2" / "b.txt")
        assert scene.looks() == ["card 2/b.txt is the same as a.txt and is not done again"]
        path.touch()
        assert scene.looks() == []
        assert len(studio.jobs(LOCAL)) == 1
    with _studio(settings) as studio:
        scene = Scene(studio, place)
        assert scene.watch.before == 1
        path.rename(place / "in" / "c.txt")
        assert scene.looks() == ["c.txt is the same as a.txt and is not done again"]
        assert Scene(studio, place).looks() == []
        _write(place, "a.txt", "another under the old name")
        assert scene.looks() == ["a.txt done"]
        studio.delete_job(LOCAL, studio.jobs(LOCAL)[0].id)
        assert Scene(studio, place).looks() == []  # deleted on the page is no reason to do it again
    assert scene.results() == ["a.inverted-2.txt", "a.inverted.txt"]


def test_a_bad_file_is_told_once(settings: Settings, place: Path) -> None:
    bad = _write(place, "bad.txt", "")
    bad.write_bytes(b"\xff\xfe")
    _write(place, "good.txt", "fine")
    with _studio(settings) as studio:
        scene = Scene(studio, place)
        assert scene.looks() == ["bad.txt failed", "good.txt done"]
        assert scene.looks() == []
    with _studio(settings) as studio:
        scene = Scene(studio, place)
        assert scene.looks() == []
        bad.write_text("mended")
        assert scene.looks() == ["bad.txt done"]


def test_a_stop_before_and_after_a_file_is_queued(
    settings: Settings, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(place, "a.txt", "one")

    def killed(*_: object) -> list[str]:
        raise KeyboardInterrupt

    def take(stop: Callable[[Scene], None]) -> None:
        with _studio(settings, running=False) as studio:  # nobody does the jobs
            scene = Scene(studio, place)
            stop(scene)
            scene.watch.look()
            scene.clock.now += SETTLE
            try:
                scene.watch.look()
            except KeyboardInterrupt:
                return

    take(lambda scene: monkeypatch.setattr(scene, "submit_one", killed))
    take(lambda scene: None)
    with _studio(settings) as studio:
        scene = Scene(studio, place)
        assert (scene.watch.waiting, scene.watch.before) == (1, 0)
        assert scene.looks() == ["a.txt done"]
        assert len(studio.jobs(LOCAL)) == 1
    assert scene.results() == ["a.inverted.txt"]


def test_a_folder_that_is_away_is_waited_for(studio: Studio, place: Path) -> None:
    scene = Scene(studio, place)
    _write(place, "a.txt", "one")
    (place / "in").rename(place / "away")
    said = scene.looks()
    assert len(said) == 1
    assert "cannot be read now" in said[0]
    (place / "away").rename(place / "in")
    assert scene.looks() == ["a.txt done"]
