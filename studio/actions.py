"""What the buttons inside the page's panels do; each is named by its `data-do`."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from engines.base import UserError
from studio import language
from studio.checkpoints import add_checkpoint
from studio.effects import Effect
from studio.inbox import Inbox
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from studio.library.service import Library
from studio.library.unpack import duplicate_session
from studio.panels.models import TAB as MODELS
from studio.preview import Previews
from studio.recipes.runs import Recipes
from studio.scene import BATCH, Scene, item_name, tab_of
from studio.settings_actions import SettingsActions


class Actions:
    """Every action checks the owner through the studio's own calls."""

    def __init__(self, studio: Studio, inbox: Inbox, examples: Mapping[str, Path]) -> None:
        """Collect the actions by name; `examples` are files of ours by the tab that offers them."""
        self._studio = studio
        self._library = Library(studio)
        self._inbox = inbox
        self._examples = examples
        self._by_name: dict[str, Callable[[Mapping[str, str], Scene], Effect]] = {
            "open": self._open,
            "use": self._use,
            "rerun": self._rerun,
            "retry-failed": self._retry_failed,
            "delete": self._delete,
            "cancel": self._cancel,
            "cancel-all": self._cancel_all,
            "restore": self._restore,
            "session": self._session,
            "new-session": self._new_session,
            "rename-session": self._rename_session,
            "duplicate-session": self._duplicate_session,
            "delete-session": self._delete_session,
            "example": self._example,
            "known": self._known,
            "remove-file": self._remove_file,
            "clear-files": self._clear_files,
            "remove-model": self._remove_model,
            "keep-training": self._keep_training,
            "dismiss": self._dismiss,
        }
        self._by_name |= SettingsActions(studio, inbox).by_name

    def add(self, by_name: Mapping[str, Callable[[Mapping[str, str], Scene], Effect]]) -> None:
        """Take up the actions of a page of its own."""
        self._by_name |= by_name

    def do(self, data: Mapping[str, str], scene: Scene) -> Effect:
        """Perform the action that `data["do"]` names.

        Raises:
            UserError: there is no such action, or it cannot be done; the sentence is shown.
        """
        action = self._by_name.get(data.get("do", ""))
        if action is None:
            raise UserError("This button is no longer known; reload the page")
        return action(data, scene)

    def _job(self, data: Mapping[str, str], scene: Scene) -> JobView:
        return self._studio.job(scene.owner, data.get("key", ""))

    def _open(self, data: Mapping[str, str], scene: Scene) -> Effect:
        job = self._job(data, scene)
        tab = tab_of(job)
        if not tab:
            raise UserError(
                f"The engine {job.engine} is no longer there; its files are listed here"
            )
        scene.view.open[tab] = job.id
        scene.view.coming.pop(tab, None)
        if not job.finished_state and job.batch:
            scene.view.coming[tab] = job.batch
        return Effect(tab=tab, session=_elsewhere(job, scene), job=job.id)

    def _use(self, data: Mapping[str, str], scene: Scene) -> Effect:
        job = self._job(data, scene)
        tab = tab_of(job)
        if not tab:
            raise UserError(f"The engine {job.engine} is no longer there, so it has no settings")
        said = f"The form now holds the settings of {item_name(job)}"
        return Effect(tab=tab, engine=job.engine, params=job.params, said=said)

    def _rerun(self, data: Mapping[str, str], scene: Scene) -> Effect:
        job = self._job(data, scene)
        again = self._studio.job(scene.owner, self._studio.rerun(scene.owner, job.id))
        return _await(scene, job, again.batch)

    def _retry_failed(self, data: Mapping[str, str], scene: Scene) -> Effect:
        failed = self._studio.jobs(
            scene.owner, batch=data.get("key", ""), states=("failed",), limit=BATCH,
            newest_first=False,
        )  # fmt: skip
        if not failed:
            raise UserError("Nothing of this batch has failed")
        if failed[0].recipe:  # goes on where each file stopped
            Recipes(self._studio).retry(scene.owner, data.get("key", ""))
            return _await(scene, failed[0], failed[0].batch)
        first, batch = failed[0], secrets.token_hex(16)
        self._studio.submit(
            scene.owner, first.session_id, first.engine,
            [[file.path for file in job.inputs] for job in failed], first.params, batch=batch,
        )  # fmt: skip
        return _await(scene, first, batch)

    def _delete(self, data: Mapping[str, str], scene: Scene) -> Effect:
        job = self._job(data, scene)
        tab = tab_of(job)
        self._library.delete_one(scene.owner, job.id)
        if scene.view.open.get(tab) == job.id:
            del scene.view.open[tab]
            rest = [one for one in scene.batch(job.batch) if one.state == "done"]
            if rest:
                scene.view.open[tab] = rest[0].id
        return Effect(said=f"{item_name(job)} is in the trash", undo=job.id)

    def _cancel(self, data: Mapping[str, str], scene: Scene) -> Effect:
        self._studio.cancel(scene.owner, data.get("key", ""))
        return Effect()

    def _cancel_all(self, data: Mapping[str, str], scene: Scene) -> Effect:
        self._studio.cancel_all(scene.owner, scene.session.id)
        return Effect()

    def _restore(self, data: Mapping[str, str], scene: Scene) -> Effect:
        if not self._library.restore(scene.owner, [data.get("key", "")]):
            raise UserError("It is no longer in the trash")
        job = self._job(data, scene)
        scene.view.open[tab_of(job)] = job.id
        return Effect()

    def _session(self, data: Mapping[str, str], scene: Scene) -> Effect:
        wanted = data.get("key", "")
        if wanted not in [one.id for one in self._studio.sessions(scene.owner)]:
            raise UserError("There is no such session")
        return Effect(session=wanted)

    def _new_session(self, data: Mapping[str, str], scene: Scene) -> Effect:
        made = self._studio.new_session(scene.owner, data.get("text", "").strip()[:80])
        return Effect(session=made.id, fresh=True)

    def _rename_session(self, data: Mapping[str, str], scene: Scene) -> Effect:
        name = data.get("text", "").strip()[:80]
        if not name:
            raise UserError("A session needs a name")
        self._studio.rename_session(scene.owner, scene.session.id, name)
        return Effect(session=scene.session.id)

    def _duplicate_session(self, data: Mapping[str, str], scene: Scene) -> Effect:
        name = data.get("text", "").strip()[:80]
        made = duplicate_session(self._studio, scene.owner, scene.session.id, name)
        return Effect(session=made.id, said=f"{made.name} holds a copy of everything")

    def _delete_session(self, data: Mapping[str, str], scene: Scene) -> Effect:
        self._studio.delete_session(scene.owner, scene.session.id)
        return Effect(session="")

    def _example(self, data: Mapping[str, str], scene: Scene) -> Effect:
        tab = data.get("tab", "")
        path = self._examples.get(tab)
        if path is None:
            raise UserError("There is no example on this tab")
        self._inbox.add_in_place(scene.session.id, tab, str(path), (path.suffix.lower(),))
        return Effect()

    def _known(self, data: Mapping[str, str], scene: Scene) -> Effect:
        model = language.find(self._studio.settings, data.get("key", ""))
        if model is None:
            raise UserError("That model is no longer there; reload the page")
        self._inbox.add_known(scene.session.id, data.get("tab", ""), [model.path])
        return Effect()

    def _remove_file(self, data: Mapping[str, str], scene: Scene) -> Effect:
        self._inbox.remove(scene.session.id, data.get("tab", ""), data.get("key", ""))
        return Effect()

    def _clear_files(self, data: Mapping[str, str], scene: Scene) -> Effect:
        self._inbox.remove(scene.session.id, data.get("tab", ""))
        return Effect()

    def _remove_model(self, data: Mapping[str, str], scene: Scene) -> Effect:
        if self._studio.settings.shared:
            raise UserError("Weights of this studio belong to who runs it; they stay")
        name = data.get("key", "")
        if not language.remove(self._studio.settings, name):
            self._studio.models.remove(name)
        scene.view.seen.pop(MODELS, None)
        return Effect(models=True, said=f"{name} was removed")

    def _keep_training(self, data: Mapping[str, str], scene: Scene) -> Effect:
        if self._studio.settings.shared:
            raise UserError("Weights cannot be added here; run Noise Studio on your own machine")
        path = Previews(self._studio).trained(scene.owner, data.get("key", ""))
        name = data.get("text", "").strip() or "my-noiser"
        with TemporaryDirectory() as folder:
            named = Path(folder) / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:60]}.safetensors"
            shutil.copyfile(path, named)
            model = add_checkpoint(self._studio.settings, named)
        scene.view.seen.pop(MODELS, None)
        return Effect(models=True, said=f"{model.id} can now be chosen as weights")

    def _dismiss(self, data: Mapping[str, str], scene: Scene) -> Effect:
        return Effect()


def _await(scene: Scene, old: JobView, batch: str | None) -> Effect:
    tab = tab_of(old)
    if tab and batch:
        scene.view.coming[tab] = batch
    return Effect(tab=tab or None, session=_elsewhere(old, scene))


def _elsewhere(job: JobView, scene: Scene) -> str | None:
    """The session to go to for a job, which the library may have shown from another one."""
    return job.session_id if job.session_id != scene.session.id else None
