"""Settings: where data lives and who may reach the studio; from flags, environment and defaults."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_data_path

from studio.options import from_environment

if TYPE_CHECKING:
    from sqlalchemy import URL

VERSION = "0.9.0"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOCAL = "local"  # the owner of everything where nobody else can reach the page
KEPT = "examples"  # owner of the examples' results, as whom nobody can come
SPACE: dict[str, Any] = {  # what is otherwise on a Space: it has 2 cores, 16 GB, and strangers
    "host": "0.0.0.0",  # noqa: S104 - it is reached from outside its container
    "open_browser": False,
    "max_upload_mb": 200,
    "max_files": 20,
    "max_megapixels": 50.0,
    "max_media_minutes": 10.0,
    "max_job_minutes": 15.0,
    "max_waiting_jobs": 20,
    "max_waiting_all": 200,
    "max_jobs_hour": 60,
    "max_stored_mb": 1000,
    "min_free_mb": 2000,
    "keep_hours": 24.0,
}


@dataclass(frozen=True)
class Settings:
    """What a studio process needs to know before anything else; see `studio.options`.

    Attributes:
        home: folder of database, outputs, models, uploads and cache.
        database_url: SQLAlchemy URL; "" is SQLite inside `home`.
        host: address to listen on.
        port: first port to try.
        share: ask Gradio for a public tunnel.
        auth: (user, password) of everybody who may come in; empty asks nobody.
        space: running as a Hugging Face Space.
        zero_gpu: that Space lends a GPU for each job (ZeroGPU).
        persistent: what a Space keeps outlives its restart.
        device: torch device for jobs; "auto" takes the first of cuda, mps, cpu that is there.
        open_browser: open a browser window once the page answers.
        executor: "worker" (own process), "inline" (this process; tests and ZeroGPU) or the
            address of a cluster, "dask://host:port".
        mcp: offer the engines as tools of the Model Context Protocol.
        max_upload_mb: largest file that may be uploaded.
        max_files: most files that a visitor may run at once; 0 here and below is no limit.
        max_megapixels: largest picture of a visitor's.
        max_media_minutes: longest sound or film of a visitor's.
        max_job_minutes: longest that one job of a visitor's may take.
        max_waiting_jobs: most jobs an owner may have waiting.
        max_waiting_all: most jobs that may wait, of all visitors together.
        max_jobs_hour: most jobs that a visitor may ask for in an hour.
        max_stored_mb: most that a visitor may keep.
        min_free_mb: what visitors must leave free on the disk.
        keep_hours: a visitor's session is deleted so long after it was last used.
        gpu_seconds: how long a job may hold ZeroGPU's card.
    """

    home: Path
    database_url: str = ""
    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False
    auth: tuple[tuple[str, str], ...] = ()
    space: bool = False
    zero_gpu: bool = False
    persistent: bool = True
    device: str = "auto"
    open_browser: bool = True
    executor: str = "worker"
    mcp: bool = False
    max_upload_mb: int = 500
    max_files: int = 0
    max_megapixels: float = 0.0
    max_media_minutes: float = 0.0
    max_job_minutes: float = 0.0
    max_waiting_jobs: int = 5000
    max_waiting_all: int = 0
    max_jobs_hour: int = 0
    max_stored_mb: int = 0
    min_free_mb: int = 500
    keep_hours: float = 0.0
    gpu_seconds: int = 120

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Defaults, then what a Space changes, the environment, and `overrides` that are not None.

        Raises:
            UserError: a variable of the environment has a value that cannot be used.
        """
        from studio.space import home_of_space

        space = os.environ.get("SYSTEM") == "spaces" or "SPACE_ID" in os.environ
        home, persistent = os.environ.get("STUDIO_HOME"), True
        if home is None and space:
            home, persistent = home_of_space()
        settings = cls(
            home=Path(home or user_data_path("noise-studio", appauthor=False)),
            space=space,
            persistent=persistent,
        )
        if space:
            zero_gpu = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true")
            settings = replace(settings, zero_gpu=zero_gpu, **SPACE)
        given = {name: value for name, value in overrides.items() if value is not None}
        settings = replace(settings, **{**from_environment(), **given})
        # Every stored path begins with it, and the next start may be in another folder.
        return replace(settings, home=settings.home.expanduser().absolute())

    @property
    def shared(self) -> bool:
        """Whether others than the person at this machine can reach the page."""
        return self.space or self.share or bool(self.auth) or self.host not in LOOPBACK

    @property
    def url(self) -> str | URL:
        """SQLAlchemy URL of the database."""
        from sqlalchemy import URL  # takes longer than all of `--help`

        return self.database_url or URL.create("sqlite", database=str(self.home / "studio.db"))

    @property
    def runner_lock(self) -> Path:
        """Held by the process that does the jobs: one of a home, or of a machine of several.

        Studios of several machines may share a home and a database that is not SQLite.
        """
        if not self.database_url or self.database_url.startswith("sqlite"):
            return self.home / "runner.lock"
        machine = re.sub(r"[^A-Za-z0-9.-]+", "-", platform.node())[:80] or "machine"
        return self.home / f"runner-{machine}.lock"

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
