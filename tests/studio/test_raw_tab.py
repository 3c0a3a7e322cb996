"""The RAW tab: a preview that follows the settings, training in front of a person."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines.base import UserError
from engines.raw.noiser.engine import NoiserEngine
from engines.raw.noiser.training import TrainEngine
from engines.raw.yond.engine import YondEngine
from studio.actions import Actions
from studio.config import LOCAL
from studio.jobs.service import Studio
from studio.jobs.views import NotFound
from studio.preview import Previews, Region
from studio.tabs.raw import RawTab, raw_facts
from tests.studio.scenes import inbox_of, scene_of

TAB = "raw"
STRANGER = "f" * 32


@pytest.fixture
def dark(tmp_path: Path) -> Path:
    """A dark picture of 90 x 60 pixels."""
    y, x = np.mgrid[:60, :90]
    levels = 12 + 10 * np.sin(x / 9) * np.cos(y / 7)
    path = tmp_path / "dark.png"
    Image.fromarray(np.dstack([levels, levels * 0.8, levels * 0.6]).astype(np.uint8)).save(path)
    return path


def _chosen(studio: Studio, path: Path) -> tuple[str, str]:
    session = studio.open_session(LOCAL).id
    inbox_of(studio).add_in_place(session, TAB, str(path), (path.suffix,))
    return session, inbox_of(studio).files(session, TAB)[0].key


def _ended(previews: Previews, asked: str) -> Region:
    while (found := previews.look(LOCAL, asked)).state not in ("done", "failed", "cancelled"):
        time.sleep(0.01)
    return found


def _ask(previews: Previews, at: tuple[str, str], engine: str, **values: Any) -> str:
    return previews.ask(LOCAL, at[0], TAB, at[1], {"engine": engine, "values": values})


def test_the_preview_follows_the_settings(studio: Studio, dark: Path) -> None:
    previews = Previews(studio)
    at = _chosen(studio, dark)
    means: list[float] = []
    for brightness in (0.3, 0.5):
        asked = _ask(
            previews, at, NoiserEngine.id, brightness=brightness, highlights=0.0, denoise="auto"
        )
        found = _ended(previews, asked)
        assert found.error == ""
        assert found.found["after"] == pytest.approx(brightness, abs=0.08)
        picture = np.asarray(Image.open(previews.file(LOCAL, asked, "after.png")))
        assert picture.shape == (60, 90, 3)
        means.append(float(picture.mean()))
    assert means[1] > means[0] + 20
    assert dark.read_bytes() == dark.read_bytes()
    with pytest.raises(UserError, match="brightness"):
        _ask(previews, at, NoiserEngine.id, brightness=7)
    denoiser = _ended(previews, _ask(previews, at, YondEngine.id))
    assert "Only brightening" in denoiser.error


def test_a_network_is_trained_in_front_of_a_person_and_kept(
    studio: Studio, dark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(  # else a process of its own does it
        "studio.actions.add_checkpoint", lambda _settings, path: studio.models.add(path)
    )
    previews = Previews(studio)
    asked = _ask(previews, _chosen(studio, dark), TrainEngine.id, steps=10)
    found = _ended(previews, asked)
    assert (found.state, found.error) == ("done", "")
    assert found.found["curve"][-1][0] == 10
    assert previews.file(LOCAL, asked, "after.png").is_file()
    scene = scene_of(studio)
    actions = Actions(studio, inbox_of(studio), {})
    effect = actions.do({"do": "keep-training", "key": asked, "text": "my night"}, scene)
    assert effect.models
    [mine] = [one for one in studio.models.list("raw.noiser/net") if one.state == "yours"]
    assert mine.id == "my-night"
    ids = studio.submit(LOCAL, scene.session.id, NoiserEngine.id, [[dark]], {"weights": mine.id})
    [job] = studio.wait(LOCAL, ids, poll=0.01)
    assert job.state == "done"
    with pytest.raises(NotFound):
        previews.trained(STRANGER, asked)


def test_strangers_train_nothing(shared: Studio) -> None:
    with pytest.raises(UserError, match="your own machine"):
        Actions(shared, inbox_of(shared), {}).do(
            {"do": "keep-training", "key": "x"}, scene_of(shared, STRANGER)
        )


def test_what_is_said_of_a_picture(dark: Path) -> None:
    found = raw_facts(dark)
    assert found.facts == ("90 x 60", "8-bit colour")
    assert found.more["width"] == 90


def test_brightening_is_read_for_the_eye() -> None:
    tab = RawTab("RAW", [YondEngine, NoiserEngine])
    found = tab.read({
        "gain": (3.2, "EV"), "mean_before": (8.0, "%"), "mean_after": (42.0, "%"), "K": (2.0, ""),
    })  # fmt: skip
    assert [(row.name, row.value, row.before) for row in found.headline] == [
        ("Brighter by", 3.2, None), ("Mean brightness", 42.0, 8.0),
    ]  # fmt: skip
    assert [row.value for row in found.rest] == [2.0]
