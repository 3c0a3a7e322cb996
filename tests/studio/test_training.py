"""Networks trained from the page, and files of weights that are sent to it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from engines.base import UserError
from engines.raw.yond.arch import GuidedResUnet
from studio import checkpoints
from studio.catalogue import FILE, catalogue, found
from studio.config import LOCAL, Settings
from studio.effects import Effect
from studio.jobs.service import Studio
from studio.jobs.views import NotFound
from studio.model_actions import ModelActions
from studio.model_files import ModelFiles
from studio.training import Lesson, Training
from tests.studio.scenes import scene_of
from tests.studio.threads import run_apart

OTHER = "f" * 32


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are read in this process: another takes seconds to import torch."""
    for module in ("studio.model_files", "studio.model_actions"):
        monkeypatch.setattr(f"{module}.add_checkpoint", checkpoints._add)


def _until(training: Training, asked: str, *states: str) -> Lesson:
    deadline = time.monotonic() + 120
    while (found := training.look(LOCAL, asked)).state not in states:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def _session(studio: Studio) -> str:
    return studio.open_session(LOCAL).id


def test_a_training_is_watched_stopped_kept_and_gone_on_with(
    studio: Studio, settings: Settings
) -> None:
    training = Training(studio)
    assert training.now(LOCAL) is None
    wanted = {"recipe": "noiser", "minutes": 60.0, "resume": True}
    asked = training.start(LOCAL, _session(studio), wanted)
    with pytest.raises(UserError, match="noiser is being trained; stop that first"):
        training.start(LOCAL, _session(studio), wanted)
    deadline = time.monotonic() + 120
    while not training.look(LOCAL, asked).found.get("curve"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert studio.jobs(LOCAL) == []  # it is in no list
    training.stop(LOCAL, asked)
    done = _until(training, asked, "done", "failed", "cancelled")
    assert (done.state, done.error, done.kept) == ("done", "", True)
    assert done.found["figures"]["spread"] > 0
    assert training.picture(LOCAL, asked).read_bytes().startswith(b"\x89PNG")
    assert training.now(LOCAL) == done
    for ask in (training.look, training.stop, training.picture, training.weights):
        with pytest.raises(NotFound):
            ask(OTHER, asked)

    scene = scene_of(studio)
    actions = ModelActions(studio, None).by_name  # type: ignore[arg-type]
    effect = actions["keep-weights"]({"key": asked, "text": "mine, of today"}, scene)
    assert effect == Effect(
        tab="models", models=True, said="mine-of-today can now be chosen as weights"
    )
    assert "mine-of-today" in [one.id for one in studio.models.list("raw.noiser")]

    again = training.start(LOCAL, _session(studio), wanted | {"minutes": 0.05})
    later = _until(training, again, "done", "failed")
    assert later.state == "done", later
    assert later.found["step"] > done.found["step"]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"recipe": "nothing"}, "There is no recipe called nothing"),
        ({"recipe": "noiser", "minutes": 0}, "minutes: "),
        ({"recipe": "noiser", "data": "/no/such/place"}, "There is no such folder of your own"),
    ],
)
def test_what_cannot_be_trained_is_a_sentence(
    studio: Studio, wanted: dict[str, object], sentence: str
) -> None:
    training = Training(studio)

    def train() -> None:
        asked = training.start(LOCAL, _session(studio), wanted)
        raise UserError(_until(training, asked, "failed").error)

    with pytest.raises(UserError, match=f"^{sentence}"):
        train()


def test_strangers_add_train_and_check_nothing(shared: Studio) -> None:
    files, actions = ModelFiles(shared.settings), ModelActions(shared, None)  # type: ignore[arg-type]
    scene = scene_of(shared, OTHER)
    for refused in (
        lambda: Training(shared).start(OTHER, scene.session.id, {"recipe": "noiser"}),
        lambda: run_apart(files.receive("", "a.pth", 1, _pieces(b"a"))),
        lambda: files.keep("0" * 32),
        *(
            lambda action=action: action({"key": "x", "text": "x"}, scene)
            for action in actions.by_name.values()
        ),
    ):
        with pytest.raises(UserError, match=r"not here|cannot be added here"):
            refused()


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


def test_sent_weights_are_hashed_checked_and_kept(
    studio: Studio, settings: Settings, tmp_path: Path
) -> None:
    network = GuidedResUnet(4, 2, False)
    network.initialise(torch.Generator().manual_seed(7))
    torch.save(network.state_dict(), tmp_path / "a.pth")
    content = (tmp_path / "a.pth").read_bytes()
    files = ModelFiles(settings)

    def send(name: str = "../my own.pth", sent: bytes = content) -> str:
        token, found = run_apart(files.receive("", name, len(sent), _pieces(sent)))
        assert found == sha256(sent).hexdigest()
        return token

    with pytest.raises(UserError, match="is not what was expected: its sha256 is"):
        files.keep(send(), "0" * 64)
    with pytest.raises(UserError, match="A sha256 has 64 digits"):
        files.keep(send(), "abc")
    with pytest.raises(UserError, match=r"^junk.pth is not a checkpoint that can be read safely"):
        files.keep(send("junk.pth", b"junk"))
    token = send()
    [added] = files.keep(token, f" SHA256:{sha256(content).hexdigest().upper()} ")
    assert added.id == "my-own"
    for gone in (token, "0" * 32, "../../x"):
        with pytest.raises(UserError, match="no longer here"):
            files.keep(gone)
    assert not list((settings.temporary / "models").glob("*"))

    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(UserError, match="could not be kept"):
        run_apart(files.receive("", "half.pth", 9, broken()))
    with pytest.raises(UserError, match="The disk has no room"):
        run_apart(files.receive("", "huge.pth", 10**15, _pieces(b"")))
    assert not list((settings.temporary / "models").glob("*"))


def test_what_is_written_down_of_networks_and_recipes_is_so() -> None:
    assert FILE.read_text("utf-8") == found().to_json(), "python launch.py docs catalogue"
    assert catalogue() == found()
