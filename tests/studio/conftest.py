"""Fixtures of the page's tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from studio.config import Settings
from studio.jobs.service import Studio


@pytest.fixture
def shared(settings: Settings) -> Iterator[Studio]:
    """A started studio that strangers reach."""
    studio = Studio(replace(settings, space=True))
    studio.start()
    yield studio
    studio.stop()
