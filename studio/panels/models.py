"""Which weights there are and what they are: bundled, the authors' own, or yours.

Below the list the browser sends files of weights and watches a training (assets/js/models.js); both
are for the person at this machine alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from engines.weights import ModelFile
from studio import language
from studio.catalogue import Network, catalogue
from studio.checks import Checks
from studio.jobs.service import Studio
from studio.markup import render
from studio.scene import Scene, html_panel

TAB = "models"
_SHOWN = "models-shown"  # in `View.seen`: what the list was made of


@dataclass(frozen=True)
class _Group:
    title: str
    about: str
    models: Sequence[ModelFile]


_GROUPS = (
    ("bundled", "Bundled", "Trained by the recipes of this project; work offline."),
    ("official", "Official", "The authors' own files, added by you; used where you choose them."),
    ("yours", "Yours", "Trained or added by you."),
)  # fmt: skip


class ModelsPanel:
    """The list, what is loaded now, and where official files are to be had."""

    name = "models"

    def __init__(self, studio: Studio, checks: Checks) -> None:
        """Make the component; call inside a Blocks context."""
        self._studio = studio
        self._checks = checks
        self.component = html_panel("ns-models")

    def html(self, scene: Scene) -> str | None:
        """The list, made anew only where it may have changed: it takes the files' hashes."""
        if scene.view.tab != TAB:
            scene.view.seen.pop(self.name, None)
            return None
        held = self._studio.held
        scene.awaited |= self._checks.running
        megabytes = held.bytes // 2**20 if held is not None else 0
        mark = f"{self._checks.version} {held and held.models} {megabytes // 16}"
        if self.name in scene.view.seen and scene.view.seen.get(_SHOWN) == mark:
            return None
        scene.view.seen[_SHOWN] = mark
        models = self._studio.models.list()
        own = not self._studio.settings.shared
        return render(
            "models.html",
            groups=[
                _Group(title, about, [one for one in models if one.state == state])
                for state, title, about in _GROUPS
            ],
            language=language.known(self._studio.settings),
            missing=_missing(models, catalogue().networks),
            own=own,
            held=held if own else None,
            loaded={name: device for name, _, device in held.models} if held and own else {},
            checking=self._checks.running,
            problem=self._checks.problem,
            checks=self._checks.found if own else {},
        )


def _missing(models: Sequence[ModelFile], networks: Sequence[Network]) -> list[Network]:
    """Networks whose official file is not here."""
    here = {one.network for one in models if one.state == "official"}
    return [one for one in networks if one.id not in here and one.source]


class ModelToolsPanel:
    """Adding files, and training."""

    name = "model-tools"

    def __init__(self, studio: Studio) -> None:
        """Make the component; call inside a Blocks context."""
        self._shared = studio.settings.shared
        self.component = html_panel("ns-model-tools")

    def html(self, scene: Scene) -> str | None:
        """The same at all times: what is under way in it must not be taken away."""
        if scene.view.tab != TAB or self._shared:
            return None
        return render("model-tools.html", recipes=[asdict(one) for one in catalogue().recipes])
