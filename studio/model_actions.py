"""What the buttons of the Models page do; each is named by its `data-do`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from engines.base import UserError
from studio.checkpoints import add_checkpoint
from studio.checks import Checks
from studio.effects import Effect
from studio.jobs.service import Studio
from studio.model_files import NOT_HERE
from studio.panels.models import TAB
from studio.scene import Scene
from studio.training import Training


class ModelActions:
    """Visitors of a shared studio may look, and nothing else."""

    def __init__(self, studio: Studio, checks: Checks) -> None:
        """Collect the actions by name."""
        self._studio = studio
        self._checks = checks
        self.by_name: dict[str, Callable[[Mapping[str, str], Scene], Effect]] = {
            "check-models": self._check,
            "models-added": self._added,
            "keep-weights": self._keep,
        }

    def _check(self, data: Mapping[str, str], scene: Scene) -> Effect:
        self._own()
        self._checks.start()
        return Effect()

    def _added(self, data: Mapping[str, str], scene: Scene) -> Effect:
        """Files were sent and kept (`studio.model_routes`); the lists are made anew."""
        self._own()
        scene.view.seen.pop("models", None)
        return Effect(models=True, said=f"{data.get('text', '')} can now be chosen as weights")

    def _keep(self, data: Mapping[str, str], scene: Scene) -> Effect:
        self._own()
        path, recipe = Training(self._studio).weights(scene.owner, data.get("key", ""))
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", data.get("text", "").strip() or f"my-{recipe}")
        with TemporaryDirectory() as folder:
            named = Path(folder) / f"{name[:60]}.safetensors"
            shutil.copyfile(path, named)
            model = add_checkpoint(self._studio.settings, named)
        scene.view.seen.pop("models", None)
        return Effect(tab=TAB, models=True, said=f"{model.id} can now be chosen as weights")

    def _own(self) -> None:
        if self._studio.settings.shared:
            raise UserError(NOT_HERE)
