"""The bar at the foot of every tab: what runs, how far it is, what waits, and Cancel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from studio.jobs.views import JobView, QueueView
from studio.markup import duration, plural, render
from studio.recipes.runs import described, share
from studio.scene import Scene, html_panel, item_name


@dataclass(frozen=True)
class _Line:
    id: str
    title: str
    text: str
    done: float
    total: float
    percent: int
    place: str
    left: str
    spent: str


class QueuePanel:
    """Shows nothing while nothing runs."""

    name = "queue"

    def __init__(self) -> None:
        """Make the component; call inside a Blocks context."""
        self.component = html_panel("ns-queue", elem_classes="ns-dockside")

    def html(self, scene: Scene) -> str:
        """The bar of now."""
        queue = scene.queue
        return render(
            "dock.html",
            running=[self._line(scene, job) for job in queue.running],
            waiting=queue.waiting,
            note=_note(queue) + self._behind(scene),
        )

    @staticmethod
    def _behind(scene: Scene) -> str:
        """What the jobs wait for where none runs: a training stands in no list."""
        if scene.queue.running or not scene.queue.waiting:
            return ""
        going = [job for job in scene.studio.store.aside(scene.owner) if job.state == "running"]
        return f", after {going[0].title.lower()}" if going else ""

    @staticmethod
    def _line(scene: Scene, job: JobView) -> _Line:
        ids = [one.id for one in scene.batch(job.batch)]
        place = f"{ids.index(job.id) + 1} of {len(ids)}" if len(ids) > 1 else ""
        left = None if job.recipe else job.seconds_left  # of a step alone it would mislead
        spent = (datetime.now(UTC) - job.started).total_seconds() if job.started else 0.0
        return _Line(
            id=job.id,
            title=item_name(job),
            text=f"{described(job.recipe)}: {job.text}" if job.recipe else job.text or "Starting",
            done=share(job) if job.recipe else job.done,
            total=1.0 if job.recipe else job.total,
            percent=int(100 * share(job)) if job.total else 0,
            place=place,
            left=duration(round(left)) if left is not None else "",
            spent=duration(round(spent)),
        )


def _note(queue: QueueView) -> str:
    words = f"{plural(queue.waiting, 'job')} waiting" if queue.waiting else ""
    if queue.ahead:
        words += f", after {plural(queue.ahead, 'job')} of other visitors"
    if queue.seconds_left is not None:
        words += f", about {duration(_coarse(queue.seconds_left))} until all are done"
    return words


def _coarse(seconds: float) -> float:
    """A guess, without the look of a measurement: whole minutes, or ten seconds."""
    step = 60 if seconds > 100 else 10
    return max(step, step * round(seconds / step))
