"""Scenes, inboxes and texts to run, as the tests of the page's parts need them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.config import LOCAL
from studio.inbox import Inbox
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from studio.scene import Scene, View

TAB = "demo"
ENGINE = "demo.invert"


def scene_of(studio: Studio, owner: str = LOCAL, view: View | None = None) -> Scene:
    """One look of an owner's, at the tab of the engines for tests."""
    return Scene(studio, owner, studio.open_session(owner), view or View(tab=TAB))


def inbox_of(studio: Studio) -> Inbox:
    """The studio's chosen files."""
    return Inbox(studio.settings.uploads)


def texts(folder: Path, *names: str) -> list[Path]:
    """Files with their own name as their text."""
    paths = [folder / name for name in names]
    for path in paths:
        path.write_text(path.name, encoding="utf-8")
    return paths


def submitted(
    scene: Scene, paths: Sequence[Path], batch: str | None = None, **params: Any
) -> list[str]:
    """Ids of queued jobs, one a file."""
    return scene.studio.submit(
        scene.owner, scene.session.id, ENGINE, [[path] for path in paths], params, batch=batch
    )


def finished(
    scene: Scene, paths: Sequence[Path], batch: str | None = None, **params: Any
) -> list[JobView]:
    """The same once they have ended."""
    return scene.studio.wait(scene.owner, submitted(scene, paths, batch, **params), poll=0.01)
