"""What a bench gives an engine in place of the studio's job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.base import UserError

_loaded: dict[str, Any] = {}


class BenchJob:
    """A `Job` in this process: bundled weights kept loaded, no progress, never cancelled."""

    workspace = Path()
    device = "cpu"

    def __init__(self, workspace: Path = Path(), device: str = "cpu") -> None:
        self.workspace = workspace
        self.device = device

    def progress(self, done: float, total: float, text: str) -> None:
        """Nothing to show."""

    def check_cancelled(self) -> None:
        """Never cancelled."""

    def resumable(self, key: str) -> Path:
        """The workspace: nothing is gone on with."""
        return self.workspace

    def log(self, text: str) -> None:
        """Nothing to keep."""

    def load(self, model_id: str) -> Any:
        """Bundled weights, loaded once.

        Raises:
            UserError: there are none of that id.
        """
        from engines import weights  # and torch with it, which would count as the peers' memory

        if model_id not in _loaded:
            file = next((file for file in weights.bundled() if file.id == model_id), None)
            if file is None:
                raise UserError(f"The weights {model_id} do not come with the studio")
            _loaded[model_id] = weights.load(file, self.device)
        return _loaded[model_id]
