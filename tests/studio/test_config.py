"""Settings from defaults, the environment and flags."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import make_url

from studio.config import Settings


def test_defaults_keep_to_this_machine(home: Path) -> None:
    settings = Settings.load()
    assert settings.home == home
    assert (settings.host, settings.shared, settings.auth) == ("127.0.0.1", False, ())
    assert settings.database_url == ""
    for folder in (settings.outputs, settings.uploads, settings.models, settings.temporary):
        assert folder.is_relative_to(home)


def test_flags_go_before_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_DEVICE", "cuda")
    monkeypatch.setenv("STUDIO_DATABASE_URL", "postgresql://db/studio")
    assert Settings.load().device == "cuda"
    settings = Settings.load(device="cpu", port=8000, host=None)
    assert (settings.device, settings.port, settings.host) == ("cpu", 8000, "127.0.0.1")
    assert settings.url == "postgresql://db/studio"


@pytest.mark.parametrize(
    ("given", "shared"),
    [
        ({}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"share": True}, True),
        ({"auth": (("me", "secret"),)}, True),
        ({"space": True}, True),
    ],
)
def test_who_can_reach_the_page(given: dict[str, object], shared: bool) -> None:
    assert Settings.load(**given).shared is shared


def test_a_space_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEM", "spaces")
    settings = Settings.load()
    assert settings.space
    assert settings.shared
    assert (settings.host, settings.open_browser) == ("0.0.0.0", False)
    assert settings.max_waiting_jobs < Settings.max_waiting_jobs
    assert settings.max_upload_mb < Settings.max_upload_mb


def test_a_home_is_the_same_folder_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDIO_HOME", "studio")
    assert Settings.load().home == tmp_path / "studio"
    monkeypatch.setenv("STUDIO_HOME", "~/studio")
    assert Settings.load().home == Path.home() / "studio"
    assert Settings.load(home=Path("there")).home == tmp_path / "there"


def test_the_database_lies_in_the_home_whatever_that_is_called(tmp_path: Path) -> None:
    settings = Settings.load(home=tmp_path / "100%20 sure? #1")
    assert make_url(settings.url).database == str(settings.home / "studio.db")
