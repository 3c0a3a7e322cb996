"""Settings: where data lives and who may reach the studio; from flags, environment and defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from platformdirs import user_data_path

if TYPE_CHECKING:
    from sqlalchemy import URL

VERSION = "0.5.0"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """What a studio process needs to know before anything else.

    Attributes:
        home: folder of database, outputs, models, uploads and cache (STUDIO_HOME).
        database_url: SQLAlchemy URL; "" is SQLite inside `home` (STUDIO_DATABASE_URL).
        host: address to listen on.
        port: first port to try.
        share: ask Gradio for a public tunnel.
        auth: (user, password) asked of visitors.
        space: running as a Hugging Face Space.
        device: torch device for jobs; "auto" takes the first of cuda, mps, cpu that is there.
        open_browser: open a browser window once the page answers.
        max_upload_mb: largest file that a visitor may upload.
        max_waiting_jobs: most jobs an owner may have waiting.
        executor: "worker" (own process) or "inline" (this process; tests and ZeroGPU).
    """

    home: Path
    database_url: str = ""
    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False
    auth: tuple[str, str] | None = None
    space: bool = False
    device: str = "auto"
    open_browser: bool = True
    max_upload_mb: int = 500
    max_waiting_jobs: int = 5000
    executor: Literal["worker", "inline"] = "worker"

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Defaults, then the environment, then `overrides` that are not None."""
        space = os.environ.get("SYSTEM") == "spaces" or "SPACE_ID" in os.environ
        home = os.environ.get("STUDIO_HOME")
        if home is None and space and os.access("/data", os.W_OK):
            home = "/data"
        settings = cls(
            home=Path(home or user_data_path("noise-studio", appauthor=False)),
            database_url=os.environ.get("STUDIO_DATABASE_URL", ""),
            device=os.environ.get("STUDIO_DEVICE", "auto"),
            space=space,
        )
        if space:
            settings = replace(
                settings,
                host="0.0.0.0",  # noqa: S104 - a Space is reached from outside its container
                open_browser=False,
                max_upload_mb=200,
                max_waiting_jobs=20,
            )
        given = {name: value for name, value in overrides.items() if value is not None}
        settings = replace(settings, **given)
        # Every stored path begins with it, and the next start may be in another folder.
        return replace(settings, home=settings.home.expanduser().absolute())

    @property
    def shared(self) -> bool:
        """Whether others than the person at this machine can reach the page."""
        return self.space or self.share or self.auth is not None or self.host not in LOOPBACK

    @property
    def url(self) -> str | URL:
        """SQLAlchemy URL of the database."""
        from sqlalchemy import URL  # takes longer than all of `--help`

        return self.database_url or URL.create("sqlite", database=str(self.home / "studio.db"))

    @property
    def outputs(self) -> Path:
        """outputs/<session>/<job>/ holds what jobs made."""
        return self.home / "outputs"

    @property
    def uploads(self) -> Path:
        """uploads/<session>/ holds what visitors sent."""
        return self.home / "uploads"

    @property
    def models(self) -> Path:
        """Weights that were added."""
        return self.home / "models"

    @property
    def cache(self) -> Path:
        """What can be made again: logs, training data."""
        return self.home / "cache"

    @property
    def temporary(self) -> Path:
        """Gradio's temporary files; emptied at every start."""
        return self.home / "cache" / "temporary"
