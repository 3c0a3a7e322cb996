"""Ask both: a question goes first, is listed nowhere, and is its owner's alone."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest

from engines.base import UserError
from engines.quantize.ask import AskEngine
from studio.asking import Answer, Asking
from studio.config import LOCAL, Settings
from studio.http import StudioRoutes
from studio.jobs.service import Studio
from studio.jobs.views import JobView, NotFound
from studio.visitors import Visitors
from tests.language_models import zipped
from tests.studio.jobs import engines

STRANGER = "f" * 32


@dataclass
class Fake:
    """A runtime without a model: it says the words of the prompt and the folder's name."""

    loaded: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    last: dict[str, Any] = field(default_factory=dict)

    def load_model(self, folder: Path, device: str, **_: Any) -> Any:
        """See `engines.quantize.runtime.load_model`."""
        if (folder / "broken").exists():
            raise UserError(f"{folder.name} cannot be loaded")
        self.loaded.append(folder.name)

        class Loaded:
            name = folder.name

            @staticmethod
            def tokenizer(text: str, add_special_tokens: bool) -> dict[str, list[str]]:
                return {"input_ids": text.split()}

        return Loaded

    def generate(
        self, loaded: Any, prompt: str, *, check: Callable[[], None], **more: Any
    ) -> Iterator[str]:
        """See `engines.quantize.runtime.generate`."""
        self.last = more
        for word in (*prompt.split(), loaded.name):
            yield f"{word} "
            while not self.go_on.is_set():
                check()
                time.sleep(0.01)


@pytest.fixture(autouse=True)
def fake(tiny_engine: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """The runtime that questions meet; it does not wait unless a test clears `go_on`."""
    engines.register()
    fake = Fake()
    fake.go_on.set()
    module = ModuleType("engines.quantize.runtime")
    module.load_model, module.generate = fake.load_model, fake.generate  # type: ignore[attr-defined]
    module.room = SimpleNamespace(taken=lambda _: 0, fits=lambda *_: True)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "engines.quantize.runtime", module)
    yield fake
    fake.go_on.set()
    AskEngine.forget()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that is a model by its looks."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def asking(studio: Studio) -> Asking:
    return Asking(studio)


def _quantized(studio: Studio, model: Path, owner: str = LOCAL) -> JobView:
    session = studio.open_session(owner).id
    [job] = studio.wait(
        owner, studio.submit(owner, session, "demo.model", [[model]], {}), poll=0.01
    )
    assert job.state == "done", job.error
    return job


def _ended(asking: Asking, asked: str, owner: str = LOCAL) -> Answer:
    while (found := asking.answer(owner, asked)).state not in ("done", "failed", "cancelled"):
        time.sleep(0.01)
    return found


def _until(asking: Asking, asked: str, holds: Callable[[Answer], bool]) -> Answer:
    while not holds(found := asking.answer(LOCAL, asked)):
        assert found.state not in ("done", "failed", "cancelled"), found
        time.sleep(0.01)
    return found


def test_both_answer_one_after_the_other(
    studio: Studio, asking: Asking, model: Path, fake: Fake
) -> None:
    job = _quantized(studio, model)
    found = _ended(asking, asking.ask(LOCAL, job.id, "one two", chat=True, max_tokens=9))
    assert found.error == ""
    assert {side: (v["state"], v["text"]) for side, v in found.sides.items()} == {
        "original": ("done", "one two tiny "),
        "quantized": ("done", "one two tiny-small "),
    }
    assert [found.sides[side]["tokens"] for side in found.sides] == [3, 3]
    assert fake.last["chat"] is True
    assert fake.last["max_new_tokens"] == 9
    _ended(asking, asking.ask(LOCAL, job.id, "again"))
    assert fake.loaded == ["tiny", "tiny-small"]  # both are kept between questions
    AskEngine.forget()
    _ended(asking, asking.ask(LOCAL, job.id, "again"))
    assert fake.loaded == ["tiny", "tiny-small"] * 2


def test_a_model_that_came_as_a_zip_is_unpacked_once_for_all_questions(
    studio: Studio, asking: Asking, model: Path, fake: Fake
) -> None:
    job = _quantized(studio, zipped(model, model.with_suffix(".zip")))
    [kept] = (studio.settings.cache / "unpacked").iterdir()
    made = kept.stat().st_ino
    for prompt in ("one", "two", "three"):
        sides = _ended(asking, asking.ask(LOCAL, job.id, prompt)).sides
        assert sides["original"]["text"] == f"{prompt} tiny "
    assert kept.stat().st_ino == made
    assert fake.loaded == ["tiny", "tiny-small"]


def test_text_is_there_while_it_comes_and_a_stop_keeps_it(
    studio: Studio, asking: Asking, model: Path, fake: Fake
) -> None:
    job = _quantized(studio, model)
    fake.go_on.clear()
    asked = asking.ask(LOCAL, job.id, "one two")
    found = _until(asking, asked, lambda now: bool(now.sides["original"].get("text")))
    assert found.state == "running"
    assert found.sides["original"]["text"] == "one "
    assert found.sides["quantized"]["state"] == "waiting"
    asking.stop(LOCAL, asked)
    found = _ended(asking, asked)
    assert found.state == "cancelled"
    assert {**found.sides["original"], "seconds": 0} == {
        "state": "stopped", "text": "one ", "tokens": 1, "seconds": 0, "error": "",
    }  # fmt: skip


def test_one_that_cannot_answer_does_not_take_the_other_along(
    studio: Studio, asking: Asking, model: Path
) -> None:
    job = _quantized(studio, model)
    (job.outputs[0].path / "broken").touch()
    sides = _ended(asking, asking.ask(LOCAL, job.id, "one")).sides
    assert sides["original"]["text"] == "one tiny "
    assert (sides["quantized"]["state"], sides["quantized"]["error"]) == (
        "failed", "tiny-small cannot be loaded",
    )  # fmt: skip
    (model / "config.json").unlink()
    model.rmdir()
    assert list(_ended(asking, asking.ask(LOCAL, job.id, "one")).sides) == ["quantized"]


def test_what_cannot_be_asked_says_so(
    studio: Studio, asking: Asking, model: Path, tmp_path: Path
) -> None:
    job = _quantized(studio, model)
    text = tmp_path / "a.txt"
    text.write_text("a")
    ids = studio.submit(LOCAL, job.session_id, "demo.big", [[text]], {})
    [other] = studio.wait(LOCAL, ids, poll=0.01)
    with pytest.raises(UserError, match="Only a model that was quantized here"):
        asking.ask(LOCAL, other.id, "one")
    with pytest.raises(UserError, match="Type something"):
        asking.ask(LOCAL, job.id, "  ")
    with pytest.raises(UserError, match="max_tokens"):
        asking.ask(LOCAL, job.id, "one", max_tokens=10**6)
    with pytest.raises(NotFound):
        asking.answer(LOCAL, job.id)
    studio.delete_job(LOCAL, job.id)
    with pytest.raises(NotFound):
        asking.ask(LOCAL, job.id, "one")


def test_nobody_reaches_anothers_question(studio: Studio, asking: Asking, model: Path) -> None:
    job = _quantized(studio, model)
    asked = asking.ask(LOCAL, job.id, "one")
    for reach in (
        lambda: asking.ask(STRANGER, job.id, "one"),
        lambda: asking.answer(STRANGER, asked),
        lambda: asking.stop(STRANGER, asked),
    ):
        with pytest.raises(NotFound):
            reach()
    assert _ended(asking, asked).state == "done"


def test_a_question_stands_in_no_list_and_the_next_takes_its_place(
    studio: Studio, asking: Asking, model: Path, fake: Fake
) -> None:
    job = _quantized(studio, model)
    fake.go_on.clear()
    first = asking.ask(LOCAL, job.id, "one")
    _until(asking, first, lambda now: now.state == "running")
    assert [one.id for one in studio.jobs(LOCAL)] == [job.id]
    assert studio.counts(LOCAL) == {"done": 1}
    assert studio.sessions(LOCAL)[0].jobs == 1
    assert (studio.queue(LOCAL).running, studio.queue(LOCAL).waiting) == ((), 0)
    second = asking.ask(LOCAL, job.id, "two")
    assert _ended(asking, first).state == "cancelled"
    fake.go_on.set()
    assert _ended(asking, second).sides["original"]["text"] == "two tiny "
    _ended(asking, asking.ask(LOCAL, job.id, "three"))
    for gone in (first, second):
        with pytest.raises(NotFound):
            asking.answer(LOCAL, gone)
    assert len(list((studio.settings.cache / "resumable").iterdir())) == 1


def test_a_question_goes_before_what_waits(
    settings: Settings, model: Path, tmp_path: Path, fake: Fake
) -> None:
    studio = Studio(settings)
    studio.start()
    job = _quantized(studio, model)
    fake.go_on.clear()
    running = Asking(studio).ask(LOCAL, job.id, "one")
    _until(Asking(studio), running, lambda now: now.state == "running")
    text = tmp_path / "a.txt"
    text.write_text("a")
    waiting = studio.submit(LOCAL, job.session_id, "demo.big", [[text]] * 3, {})
    asked = Asking(studio).ask(LOCAL, job.id, "two")
    fake.go_on.set()
    _ended(Asking(studio), asked)
    states = [studio.job(LOCAL, one) for one in waiting]
    begun = studio.job(LOCAL, asked).started
    assert begun is not None
    assert all(one.started is None or one.started > begun for one in states)
    studio.wait(LOCAL, waiting, poll=0.01)
    studio.stop()
    again = Studio(settings)
    again.start()  # nobody waits for answers any more
    with pytest.raises(NotFound):
        Asking(again).answer(LOCAL, asked)
    again.stop()


def test_a_session_is_deleted_while_it_is_asked(
    studio: Studio, asking: Asking, model: Path, fake: Fake
) -> None:
    job = _quantized(studio, model)
    fake.go_on.clear()
    asked = asking.ask(LOCAL, job.id, "one")
    _until(asking, asked, lambda now: now.state == "running")
    studio.delete_session(LOCAL, job.session_id)
    with pytest.raises(NotFound):
        asking.answer(LOCAL, asked)


# Over HTTP


@pytest.fixture
def client(studio: Studio) -> Iterator[Any]:
    """The studio's own addresses for the person at this machine."""
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    app = Starlette(routes=StudioRoutes(studio, Visitors(studio.settings), "boot").routes())
    app.cookie_id = "x"  # type: ignore[attr-defined]
    app.tokens = {}  # type: ignore[attr-defined]
    with TestClient(app) as client:
        yield client


def _answer(client: httpx.Client, asked: str) -> dict[str, Any]:
    while (found := client.get(f"/studio/answer/{asked}").json())["state"] != "done":
        time.sleep(0.01)
    return found


def test_the_page_asks_looks_and_stops(
    client: httpx.Client, studio: Studio, model: Path, fake: Fake
) -> None:
    job = _quantized(studio, model)
    made = client.post(f"/studio/ask/{job.id}", json={"prompt": "one", "max_tokens": 5}).json()
    found = _answer(client, made["asked"])
    assert found["sides"]["quantized"]["text"] == "one tiny-small "
    assert found["ahead"] is False
    fake.go_on.clear()
    made = client.post(f"/studio/ask/{job.id}", json={"prompt": "one"}).json()
    assert client.post(f"/studio/answer/{made['asked']}/stop").status_code == 200
    while client.get(f"/studio/answer/{made['asked']}").json()["state"] != "cancelled":
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"prompt": ""}', "Type something for the models to answer"),
        (b'{"prompt": "a", "max_tokens": "many"}', "max_tokens: "),
        (b"[]", "This cannot be read; reload the page"),
        (b"{", "This cannot be read; reload the page"),
        (b'"' + b"a" * 100_000 + b'"', "This is too much at once; send less"),
    ],
)
def test_what_is_no_question_is_refused_with_a_sentence(
    client: httpx.Client, studio: Studio, model: Path, body: bytes, said: str
) -> None:
    job = _quantized(studio, model)
    answer = client.post(f"/studio/ask/{job.id}", content=body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(said)


def test_what_is_not_there_is_missing(client: httpx.Client) -> None:
    for address in ("ask/" + "0" * 32, f"answer/{'0' * 32}/stop"):
        body = {"prompt": "one"}
        assert client.post(f"/studio/{address}", json=body).status_code == 404
    assert client.get(f"/studio/answer/{'0' * 32}").status_code == 404
    assert client.get(f"/studio/zip/folder/{'0' * 32}").status_code == 404
