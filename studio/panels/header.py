"""The top line: name, session, device, what is going on, space taken, light and dark."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from studio.markup import plural, render
from studio.panels.library import TAB as LIBRARY
from studio.scene import Scene, digest, html_panel

_RECOUNT = 15.0  # seconds
_OWNERS = 1000


@dataclass(frozen=True)
class _Space:
    at: float
    jobs: int
    bytes: int


class HeaderPanel:
    """Also carries the open tab and job, from which the page keeps its address."""

    name = "header"

    def __init__(self) -> None:
        """Make the component; call inside a Blocks context."""
        self.component = html_panel("ns-top")
        self._storage: dict[str, _Space] = {}

    def html(self, scene: Scene) -> str:
        """The line of now."""
        queue = scene.queue
        parts = [
            f"{count} {word}"
            for count, word in ((len(queue.running), "running"), (queue.waiting, "waiting"))
            if count
        ]
        return render(
            "header.html",
            session=scene.session,
            device=_device(scene.studio.settings.device),
            work=", ".join(parts) or "Idle",
            storage=self._space(scene),
            tab=scene.view.tab,
            job=scene.view.open.get(scene.view.tab, ""),
            library=self._pulse(scene),
        )

    @staticmethod
    def _pulse(scene: Scene) -> str:
        """Tells the open library, which is never drawn anew, that there is something new."""
        if scene.view.tab != LIBRARY:
            return ""
        return digest(f"{scene.session.id} {scene.studio.store.pulse(scene.owner)}")

    def _space(self, scene: Scene) -> int:
        # The studio walks its folders to know this, too much work for every look; it changes with
        # the jobs, and slowly otherwise.
        jobs = len(scene.queue.running) + scene.queue.waiting
        known = self._storage.get(scene.owner)
        if known is None or known.jobs != jobs or time.monotonic() - known.at > _RECOUNT:
            if len(self._storage) > _OWNERS:
                self._storage.clear()
            known = _Space(time.monotonic(), jobs, scene.studio.storage(scene.owner))
            self._storage[scene.owner] = known
        return known.bytes


def _device(device: str) -> str:
    """The device in words; "auto" is told from what the system shows, as no torch is loaded."""
    if device == "auto":
        nvidia = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi")
        apple = sys.platform == "darwin" and platform.machine() == "arm64"
        device = "cuda" if nvidia else "mps" if apple else "cpu"
    names = {"cpu": f"CPU, {plural(os.cpu_count() or 1, 'core')}", "mps": "Apple GPU"}
    return names.get(device, device.replace("cuda", "GPU").replace(":", " "))
