"""What one refresh of one visitor's page is made of: whose it is, what is open, what there is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import gradio as gr

from engines import registry
from engines.base import Engine, UserError
from studio.theme import actions_script

if TYPE_CHECKING:
    from studio.jobs.service import Studio
    from studio.jobs.views import BatchItem, JobView, QueueView, SessionView

BATCH = 1000  # files of one batch that the page looks at; the library pages through all


@dataclass(frozen=True)
class Notice:
    """A sentence for the visitor; `wrong` where something did not work.

    `undo` is a job that is in the trash now and can be brought back.
    """

    text: str
    wrong: bool = True
    undo: str = ""


@dataclass
class View:
    """What a visitor has open: small values kept by Gradio for one page, all checked when used.

    Attributes:
        opened: names this opening of the page; what was sent before its answer does not have it.
        tab: id of the open tab.
        open: tab -> id of the job whose result it shows.
        coming: tab -> batch whose first result will be shown once it is there.
        seen: panel -> digest of what was last sent, so that nothing is sent twice.
        pace: seconds between two looks.
        notice: what the last action of the visitor has to say; the next one takes it away.
        presets: tab -> id of the preset that was chosen last.
        keep_steps: recipes keep what every step makes.
        recipe_batch: batch of the recipe that was run last; "" is the session's newest.
    """

    opened: str = ""
    tab: str = ""
    open: dict[str, str] = field(default_factory=dict)
    coming: dict[str, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    pace: float = 1.0
    notice: Notice | None = None
    presets: dict[str, str] = field(default_factory=dict)
    keep_steps: bool = False
    recipe_batch: str = ""


@dataclass
class Scene:
    """One look at the studio for one visitor; what is asked of the database is asked once.

    `form` is the engine that is chosen where a tab's own button was pressed, and its settings,
    which may be refused.
    """

    studio: Studio
    owner: str
    session: SessionView
    view: View
    awaited: bool = False  # something more will be known in a moment
    form: tuple[str, Callable[[], Mapping[str, Any]]] | None = None
    _batches: dict[str, list[BatchItem]] = field(default_factory=dict)

    @cached_property
    def queue(self) -> QueueView:
        """The visitor's running and waiting jobs."""
        return self.studio.queue(self.owner)

    def job(self, job_id: str | None) -> JobView | None:
        """A job of the visitor's, or None if there is none of that id."""
        if not job_id:
            return None
        try:
            return self.studio.job(self.owner, job_id)
        except UserError:
            return None

    def batch(self, batch: str | None) -> list[BatchItem]:
        """Jobs of a batch in the order of their inputs; empty if there is no such batch."""
        if not batch:
            return []
        if batch not in self._batches:
            self._batches[batch] = self.studio.batch(self.owner, batch, BATCH)
        return self._batches[batch]


class Panel(Protocol):
    """A piece of HTML that is sent again whenever it changes."""

    name: str
    component: gr.HTML

    def html(self, scene: Scene) -> str | None:
        """What to show now, or None to leave it as it is (its tab is not open)."""
        ...


def html_panel(elem_id: str, *, elem_classes: str = "") -> gr.HTML:
    """The Gradio component of a panel: plain, unstyled, with our clicks."""
    return gr.HTML(
        value="",
        elem_id=elem_id,
        elem_classes=["ns-panel", elem_classes],
        apply_default_css=False,
        js_on_load=actions_script(),
    )


def digest(html: str) -> str:
    """Tells one content of a panel from another."""
    return hashlib.sha256(html.encode()).hexdigest()[:16]


def item_name(job: JobView) -> str:
    """What a job is about: its inputs, or its engine where there are none."""
    return job.name or job.title


def tab_id(title: str) -> str:
    """An engine's tab as it stands in the address: "Super-resolution" -> "super-resolution"."""
    return "-".join(title.lower().split())


def engine_or_none(engine_id: str) -> type[Engine] | None:
    """An engine's class; None where it is no longer there."""
    try:
        return registry.engine_class(engine_id)
    except (UserError, ImportError):
        return None


def tab_of(job: JobView) -> str:
    """Id of the tab that shows a job."""
    engine = engine_or_none(job.engine)
    return tab_id(engine.tab) if engine else ""
