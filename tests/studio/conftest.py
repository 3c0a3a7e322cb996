"""Fixtures of the page's tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from studio.config import Settings
from studio.jobs.service import Studio

if TYPE_CHECKING:
    from tests.studio.serving import Serve


@pytest.fixture
def shared(settings: Settings) -> Iterator[Studio]:
    """A started studio that strangers reach."""
    studio = Studio(replace(settings, space=True))
    studio.start()
    yield studio
    studio.stop()


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Serves studios at 127.0.0.1 from this process; see `tests.studio.serving`."""
    from tests.studio.serving import serving  # brings Gradio

    with serving(lambda: tmp_path_factory.mktemp("home") / "studio") as server:
        yield server
